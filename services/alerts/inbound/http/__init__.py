"""Alerts' HTTP API: tasks and owners' actions on them, the policy, owners, effects, deliveries.

Errors are problem documents. Each route names the scopes that open it. Lists are read page by page:
send `next` of one page as `cursor` of the next.
"""

from fastapi import FastAPI

from services.alerts.delivery.store.delivery_log import DeliveryLog
from services.alerts.inbound.http.actions import add_actions
from services.alerts.inbound.http.deliveries import add_deliveries
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.inbound.http.effects import add_effect
from services.alerts.inbound.http.feedback import add_feedback
from services.alerts.inbound.http.messages import add_messages
from services.alerts.inbound.http.policies import add_dry_run, add_owners, add_policies
from services.alerts.inbound.http.tasks import add_task, add_tasks


def add_routes(app: FastAPI, parts: Parts) -> None:
    """Add every route below `/v1`."""
    add_tasks(app, parts)
    add_task(app, parts)
    add_actions(app, parts)
    add_policies(app, parts)
    add_dry_run(app, parts)
    add_owners(app, parts)
    add_deliveries(app, DeliveryLog(parts.engine), parts.tokens, parts.clock)
    add_effect(app, parts)
    add_feedback(app, parts)
    add_messages(app, parts)
