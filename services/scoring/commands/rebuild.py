"""Operator command: rebuilds states of an older feature set from the stored events."""

import argparse
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import SPEC
from services.scoring.handlers.rebuild import Rebuilt, rebuild
from services.scoring.settings import ScoringSettings
from services.scoring.store.rebuild import Rebuilding
from shared.runtime.command_line import with_engine


def add_commands(commands: Any) -> None:
    """Adds `rebuild`."""
    again = commands.add_parser(
        "rebuild", help="after an upgrade: make states of an older feature set anew from the events"
    )
    again.set_defaults(command=_rebuild)


async def _rebuild(_: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        store = Rebuilding(engine, ScoringSettings().activity_topic)
        done = await rebuild(store, _print)
        print(f"{done.customers} states made anew from {done.events} events")
        if done.bare:
            print(f"{done.bare} of them have no stored event any more and begin anew")
        return 0

    return await with_engine(SPEC, work)


def _print(done: Rebuilt, total: int) -> None:
    print(f"{done.customers} of {total} customers, {done.events} events", flush=True)
