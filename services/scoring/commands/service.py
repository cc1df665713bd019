"""Description of the service, used by every command of scoring."""

from argparse import ArgumentParser
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from services.scoring.store.audited import COMMANDS
from services.scoring.store.tables import SCHEMA, api_token
from shared.runtime.command_line import Action, ServiceSpec, on_database
from shared.runtime.interrupts import ended_by_interrupt


def _run() -> Coroutine[Any, Any, int]:
    with ended_by_interrupt():
        # No other command needs all of it, and it takes two seconds.
        from services.scoring.main import run  # noqa: PLC0415
    return run()


SPEC = ServiceSpec(
    name="scoring",
    schema=SCHEMA,
    versions=Path(__file__).parents[1] / "store" / "versions",
    token_table=api_token,
    run=_run,
    states=COMMANDS,
)

command = partial(on_database, SPEC)
"""`command(action)`: the command that runs an action with an engine."""


def group(commands: Any, name: str, text: str) -> Any:
    """Adds a command that has actions; returns what they are added to."""
    return commands.add_parser(name, help=text).add_subparsers(required=True, metavar="ACTION")


def add(commands: Any, name: str, action: Action, text: str) -> ArgumentParser:
    """Adds a command, or an action of one, that runs with an engine."""
    parser: ArgumentParser = commands.add_parser(name, help=text)
    parser.set_defaults(command=command(action))
    return parser
