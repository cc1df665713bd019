"""Command line of ingest: service, tables, tokens, refused records, mappings and the intake."""

from shared.runtime.interrupts import ended_by_interrupt

with ended_by_interrupt():  # importing takes a second
    import sys
    from functools import partial
    from typing import Any

    from services.ingest.commands.service import SPEC
    from shared.runtime.command_line import main, on_database


def _add_commands(commands: Any) -> None:
    from services.ingest.commands import (  # noqa: PLC0415 (see `main`)
        dead_letters,
        erase,
        import_files,
        intake,
        mappings,
        sources,
    )
    from services.ingest.store.held import kinds  # noqa: PLC0415
    from shared.contracts.topics import ACTIVITY, DEAD_LETTER, RAW  # noqa: PLC0415
    from shared.runtime import erasures, held, partitions  # noqa: PLC0415

    command = partial(on_database, SPEC)
    dead_letters.add(commands, command)
    sources.add(commands, command)
    mappings.add(commands, command)
    import_files.add(commands)
    erase.add(commands, command)
    erasures.add_commands(SPEC, (RAW, ACTIVITY, DEAD_LETTER), commands)
    held.add_commands(SPEC, kinds, (RAW, ACTIVITY, DEAD_LETTER), commands)
    partitions.add_commands(SPEC, commands)
    intake.add(commands, command)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
