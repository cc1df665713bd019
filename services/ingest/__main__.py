"""Command line of ingest: service, tables, tokens, refused records, mappings and the intake."""

from shared.runtime.interrupts import ended_by_interrupt

with ended_by_interrupt():  # importing takes a second
    import argparse
    import sys
    from functools import partial
    from pathlib import Path
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine

    from services.ingest.commands import dead_letters, erase, import_files, mappings, sources
    from services.ingest.main import run
    from services.ingest.store.audited import COMMANDS
    from services.ingest.store.held import kinds
    from services.ingest.store.stops import Stops
    from services.ingest.store.tables import SCHEMA, api_token
    from shared.contracts.topics import ACTIVITY, DEAD_LETTER, RAW
    from shared.runtime import erasures, held, partitions
    from shared.runtime.clock import SystemClock
    from shared.runtime.command_line import ServiceSpec, main, on_database


SPEC = ServiceSpec(
    name="ingest",
    schema=SCHEMA,
    versions=Path(__file__).parent / "store" / "versions",
    token_table=api_token,
    run=run,
    states=COMMANDS,
)


def _add_commands(commands: Any) -> None:
    command = partial(on_database, SPEC)
    dead_letters.add(commands, command)
    sources.add(commands, command)
    mappings.add(commands, command)
    import_files.add(commands)
    erase.add(commands, command)
    erasures.add_commands(SPEC, (RAW, ACTIVITY, DEAD_LETTER), commands)
    held.add_commands(SPEC, kinds, commands)
    partitions.add_commands(SPEC, commands)

    intake = commands.add_parser("intake", help="the stop that a flood of refusals causes")
    actions = intake.add_subparsers(required=True, metavar="ACTION")
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


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
