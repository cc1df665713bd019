"""Command line of scoring: runs the service and the operator commands."""

from shared.runtime.interrupts import ended_by_interrupt

with ended_by_interrupt():  # importing takes a second
    import sys
    from typing import Any

    from services.scoring.commands.service import SPEC
    from shared.runtime.command_line import main


def _add_commands(commands: Any) -> None:
    from services.scoring.commands import (  # noqa: PLC0415 (see `main`)
        absences,
        assessments,
        evaluate,
        features,
        identities,
        imports,
        models,
        partitions,
        profiling,
        rebuild,
        restored,
        training,
        value,
    )
    from services.scoring.store.held import kinds  # noqa: PLC0415
    from shared.contracts.topics import CHANGES, RISK, TREATMENT  # noqa: PLC0415
    from shared.runtime import erasures, held, set_aside  # noqa: PLC0415

    for each in (
        training,
        models,
        partitions,
        profiling,
        imports,
        rebuild,
        restored,
        assessments,
        evaluate,
        features,
        value,
        absences,
        identities,
    ):
        each.add_commands(commands)
    set_aside.add_commands(SPEC, commands)
    erasures.add_commands(SPEC, (TREATMENT, CHANGES), commands)
    held.add_commands(SPEC, kinds, (RISK, CHANGES), commands)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
