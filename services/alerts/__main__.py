"""Command line of alerts: runs the service; manages tables, tokens, tasks, policy, endpoints."""

from shared.runtime.interrupts import ended_by_interrupt

with ended_by_interrupt():  # importing takes a second
    import sys
    from typing import Any

    from services.alerts.commands import (
        deliveries,
        effect,
        endpoints,
        feedback,
        policies,
        tasks,
    )
    from services.alerts.commands.running import SPEC
    from services.alerts.store.held import kinds
    from shared.contracts.topics import TREATMENT
    from shared.runtime import erasures, held, partitions, set_aside
    from shared.runtime.command_line import main


def _add_commands(commands: Any) -> None:
    tasks.add_commands(commands)
    feedback.add_commands(commands)
    policies.add_commands(commands)
    effect.add_commands(commands)
    deliveries.add_commands(commands)
    endpoints.add_commands(commands)
    partitions.add_commands(SPEC, commands)
    set_aside.add_commands(SPEC, commands)
    erasures.add_commands(SPEC, (TREATMENT,), commands)
    held.add_commands(SPEC, kinds, commands)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
