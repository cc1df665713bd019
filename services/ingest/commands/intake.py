"""Commands `intake status|resume`: the stop that a flood of refusals causes."""

import argparse
from collections.abc import Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store.stops import Stops
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Action, Command, group


def add(commands: Any, command: Callable[[Action], Command]) -> None:
    """Add the parsers; `command` makes commands of actions on the database."""
    actions = group(commands, "intake", "the stop that a flood of refusals causes")
    status = actions.add_parser("status", help="whether it is stopped, and why")
    status.set_defaults(command=command(_status))
    resume = actions.add_parser("resume", help="go on, after the source was mended")
    resume.set_defaults(command=command(_resume))


async def _status(_: argparse.Namespace, engine: AsyncEngine) -> int:
    print(await Stops(engine).reason() or "runs")
    return 0


async def _resume(_: argparse.Namespace, engine: AsyncEngine) -> int:
    ended = await Stops(engine).resume(SystemClock().now())
    print("goes on" if ended else "was not stopped")
    return 0
