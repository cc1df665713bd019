"""Operator commands: whether a customer may be assessed.

`refuse` and `allow` send the customer's statement to the activity topic, as any source may: an
interaction `unsubscribed` or `subscribed` with the channel `profiling`. Scoring and alerts take it
in at its place in the log.
"""

import argparse
import uuid
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import command
from services.scoring.settings import ScoringSettings
from services.scoring.store.history import HistoryReader
from services.scoring.store.identity_queries import IdentityQueries
from shared.contracts import events
from shared.contracts.activity import ENCODER, Activity, ActivityData
from shared.contracts.customers import is_customer
from shared.contracts.events import ID_LENGTH_MAX, PROFILING, id_fault
from shared.kafka.producer import Producer, Record
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock

SOURCE = "operator"
"""Source of these statements; their ids are new ones each time."""


def add_commands(commands: Any) -> None:
    """Adds `profiling refuse|allow|show`."""
    profiling = commands.add_parser("profiling", help="whether a customer may be assessed")
    actions = profiling.add_subparsers(required=True, metavar="ACTION")
    for name, kind, what in (
        ("refuse", "unsubscribed", "the customer does not want to be assessed"),
        ("allow", "subscribed", "the customer may be assessed again"),
    ):
        said = actions.add_parser(name, help=what)
        said.add_argument("customer", metavar="ID", help="any id of the customer")
        said.set_defaults(command=partial(_say, kind))
    show = actions.add_parser("show", help="since when a customer is not assessed, or how many")
    show.add_argument("customer", nargs="?", metavar="ID", help="default: count them")
    show.set_defaults(command=command(_show))


async def _say(kind: str, args: argparse.Namespace) -> int:
    one: str = args.customer
    if not is_customer(one) or len(one) > ID_LENGTH_MAX or id_fault(one) or "\0" in one:
        raise Invalid("ID", f"{one[:80]!r} can be no customer's id")
    now = SystemClock().now()
    event = Activity(
        specversion="1.0",
        id=str(uuid.uuid4()),
        source=SOURCE,
        type=events.INTERACTION,
        time=now,
        subject=one,
        receivedms=int(now.timestamp() * 1000),
        data=ActivityData(kind=kind, channel=PROFILING),
    )
    producer = Producer(KafkaSettings(), "scoring-profiling")
    try:
        topic = ScoringSettings().activity_topic
        await producer.send([Record(topic, one.encode(), ENCODER.encode(event))])
    finally:
        await producer.close()
    print(f"sent; `profiling show {one}` prints what is stored")
    return 0


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    history = HistoryReader(engine)
    if args.customer is None:
        print(f"{await history.not_profiled(None):,} ids of customers are not assessed")
        return 0
    primary = await IdentityQueries(engine).primary(args.customer)
    since = await history.refused_since(primary)
    if since is None:
        print(f"{primary}: may be assessed")
    else:
        print(f"{primary}: not assessed since {since:%F %T}Z, at the customer's wish")
    return 0
