"""Command line of scoring: runs the service and the operator commands."""

from shared.runtime.interrupts import ended_by_interrupt

with ended_by_interrupt():  # importing takes a second
    import sys
    from typing import Any

    from services.scoring.commands import (
        absences,
        assessments,
        evaluate,
        features,
        identities,
        imports,
        models,
        partitions,
        rebuild,
        restored,
        training,
        value,
    )
    from services.scoring.commands.service import SPEC
    from services.scoring.store.held import kinds
    from shared.contracts.topics import CHANGES, TREATMENT
    from shared.runtime import erasures, held, set_aside
    from shared.runtime.command_line import main


def _add_commands(commands: Any) -> None:
    for each in (
        training,
        models,
        partitions,
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
    held.add_commands(SPEC, kinds, commands)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
