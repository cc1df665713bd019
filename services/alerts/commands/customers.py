"""Operator command that closes the tasks of merged customers."""

import argparse
import sys
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.running import business_clock, command
from services.alerts.components import Alerts
from services.alerts.handlers.close_merged import CloseMerged
from services.alerts.settings import AlertsSettings
from services.alerts.store.erasure import Erasure
from shared.kafka.settings import KafkaSettings
from shared.postgres.engine import unit_of_work


def add_commands(commands: Any) -> None:
    """Add `customers merged`."""
    customers = commands.add_parser("customers", help="customers who are no more")
    actions = customers.add_subparsers(required=True, metavar="ACTION")
    merged = actions.add_parser("merged", help="close the tasks of one who is now another")
    merged.add_argument("customer_id", metavar="ID")
    merged.set_defaults(command=command(_close_merged))


async def _close_merged(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        if not await Erasure().are_there(work, args.customer_id):
            print(
                f"no customer {args.customer_id!r} is known here: nothing was changed",
                file=sys.stderr,
            )
            return 1
    alerts = Alerts(AlertsSettings(), KafkaSettings(), engine)
    close = CloseMerged(
        engine=engine,
        customers=alerts.customers,
        recorder=alerts.recorder,
        outbox=alerts.outbox,
        business_clock=business_clock(),
        clock=alerts.clock,
    )
    closed = await close(args.customer_id)
    print(f"{args.customer_id}: merged, {closed} open tasks closed")
    return 0
