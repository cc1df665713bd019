"""Operator command: rebuilds states of an older feature set from the stored events."""

import argparse
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add
from services.scoring.handlers.rebuild import Rebuilt, rebuild
from services.scoring.settings import ScoringSettings
from services.scoring.store.rebuild import Rebuilding


def add_commands(commands: Any) -> None:
    """Adds `rebuild`."""
    add(
        commands,
        "rebuild",
        _rebuild,
        "after an upgrade: rebuild states of an older feature set from the events",
    )


async def _rebuild(_: argparse.Namespace, engine: AsyncEngine) -> int:
    store = Rebuilding(engine, ScoringSettings().activity_topic)
    done = await rebuild(store, _print)
    print(f"{done.customers} states rebuilt from {done.events} events")
    if done.bare:
        print(f"{done.bare} of them no longer have a stored event and begin empty")
    return 0


def _print(done: Rebuilt, total: int) -> None:
    print(f"{done.customers} of {total} customers, {done.events} events", flush=True)
