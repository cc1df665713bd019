"""Operator commands that erase customers or close the tasks of merged ones."""

import argparse
import sys
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.running import business_clock, command
from services.alerts.components import Alerts
from services.alerts.handlers.erase_customer import EraseCustomer
from services.alerts.settings import AlertsSettings
from services.alerts.store.erasure import Erasure
from shared.kafka.settings import KafkaSettings
from shared.postgres.engine import unit_of_work


def add_commands(commands: Any) -> None:
    """Add `customers erase|merged`."""
    customers = commands.add_parser("customers", help="customers who were erased or merged")
    actions = customers.add_subparsers(required=True, metavar="ACTION")
    erase = actions.add_parser("erase", help="close the tasks, delete what alerts knows of one")
    erase.add_argument("id")
    erase.set_defaults(command=command(_part_with), why="erased")
    merged = actions.add_parser("merged", help="close the tasks of one who is now another")
    merged.add_argument("id")
    merged.set_defaults(command=command(_part_with), why="merged")


async def _part_with(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        if not await Erasure().are_there(work, args.id):
            print(f"no customer {args.id!r} is known here: nothing was changed", file=sys.stderr)
            return 1
    alerts = Alerts(AlertsSettings(), KafkaSettings(), engine)
    part_with = EraseCustomer(
        engine=engine,
        customers=alerts.customers,
        traces=Erasure(),
        recorder=alerts.recorder,
        outbox=alerts.outbox,
        business_clock=business_clock(),
        clock=alerts.clock,
    )
    closed = await part_with(args.id, args.why)
    print(f"{args.id}: {args.why}, {closed} open tasks closed")
    return 0
