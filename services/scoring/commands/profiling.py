"""Operator commands: whether a customer may be assessed.

`refuse` and `allow` send the customer's statement to the activity topic, as any source may: an
interaction `unsubscribed` or `subscribed` with the channel `profiling`. Scoring and alerts take it
in at its place in the log.
"""

import argparse
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add, group
from services.scoring.commands.statement import check, send
from services.scoring.store.history import HistoryReader
from services.scoring.store.identity_queries import IdentityQueries
from shared.contracts import events
from shared.contracts.activity import ActivityData
from shared.contracts.events import PROFILING


def add_commands(commands: Any) -> None:
    """Adds `profiling refuse|allow|show`."""
    actions = group(commands, "profiling", "whether a customer may be assessed")
    for name, kind, what in (
        ("refuse", "unsubscribed", "the customer does not want to be assessed"),
        ("allow", "subscribed", "the customer may be assessed again"),
    ):
        stated = actions.add_parser(name, help=what)
        stated.add_argument("customer", metavar="ID", help="any id of the customer")
        stated.set_defaults(command=partial(_state, kind))
    show = add(actions, "show", _show, "since when a customer is not assessed, or how many")
    show.add_argument("customer", nargs="?", metavar="ID", help="default: count them")


async def _state(kind: str, args: argparse.Namespace) -> int:
    one: str = args.customer
    check("ID", one)
    data = ActivityData(kind=kind, channel=PROFILING)
    await send(events.INTERACTION, one, data, "scoring-profiling")
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
