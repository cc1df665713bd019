"""Alerts' HTTP API: tasks, owners' verdicts, deliveries.

Errors are problem documents. Reading wants a token with `customers:read`, changing one with
`tasks:write`. Lists are read page by page: give `next` of one page as `cursor` of the next.
"""

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.handlers.give_verdict import GiveVerdict
from services.alerts.inbound.http.deliveries import add_deliveries
from services.alerts.inbound.http.tasks import add_tasks
from services.alerts.store.delivery_log import DeliveryLog
from shared.http.access import Tokens


def add_routes(
    app: FastAPI, engine: AsyncEngine, tokens: Tokens, give_verdict: GiveVerdict
) -> None:
    """Add `/v1/tasks` and `/v1/deliveries`."""
    add_tasks(app, engine, tokens, give_verdict)
    add_deliveries(app, DeliveryLog(engine), tokens)
