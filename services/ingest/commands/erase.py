"""Command `erase`: requests that a customer be forgotten, by every service."""

import argparse
import getpass
from collections.abc import Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.handlers.request_erasure import RequestErasure
from services.ingest.settings import IngestSettings
from services.ingest.store.tables import SCHEMA
from shared.kafka.producer import Producer
from shared.kafka.settings import KafkaSettings
from shared.postgres.erasures import Erasures
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Action, Command


def add(commands: Any, command: Callable[[Action], Command]) -> None:
    """Add the parser; `command` makes a command of an action on the database."""
    parser = commands.add_parser(
        "erase",
        help="forget a customer: everything from before now, in every service",
        description="The request takes its place in the activity log; scoring and alerts carry it "
        "out when they reach it. Ask each service with `erasures show REQUEST`.",
    )
    parser.add_argument(
        "customer_id", metavar="ID", help="the customer's id, as the events name it"
    )
    parser.set_defaults(command=command(_erase))


async def _erase(args: argparse.Namespace, engine: AsyncEngine) -> int:
    outlet = Producer(KafkaSettings(), "ingest-cli")
    request_erasure = RequestErasure(
        engine=engine,
        outlet=outlet,
        activity_topic=IngestSettings().activity_topic,
        erasures=Erasures(SCHEMA),
        clock=SystemClock(),
    )
    try:
        request, _ = await request_erasure(args.customer_id, f"command by {getpass.getuser()}")
    finally:
        await outlet.close()
    print(f"erasure {request} was requested; what each service has done:")
    for service in ("ingest", "scoring", "alerts"):
        print(f"  python -m services.{service} erasures show {request}")
    return 0
