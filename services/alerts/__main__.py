"""Command line of alerts: runs the service; manages tables, tokens, tasks, policy, endpoints."""

from shared.runtime.interrupts import ended_by_interrupt

with ended_by_interrupt():  # importing takes a second
    import sys
    from typing import Any

    from services.alerts.commands.service import SPEC
    from shared.runtime.command_line import main


def _add_commands(commands: Any) -> None:
    from services.alerts.commands import (  # noqa: PLC0415 (see `main`)
        deliveries,
        effect,
        endpoints,
        feedback,
        policies,
        tasks,
    )
    from services.alerts.store.held import kinds  # noqa: PLC0415
    from shared.contracts.topics import TREATMENT  # noqa: PLC0415
    from shared.runtime import erasures, held, partitions, set_aside  # noqa: PLC0415

    tasks.add_commands(commands)
    feedback.add_commands(commands)
    policies.add_commands(commands)
    effect.add_commands(commands)
    deliveries.add_commands(commands)
    endpoints.add_commands(commands)
    partitions.add_commands(SPEC, commands)
    set_aside.add_commands(SPEC, commands)
    erasures.add_commands(SPEC, (TREATMENT,), commands)
    held.add_commands(SPEC, kinds, (TREATMENT,), commands)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
