"""Description of the service, used by every command of alerts."""

from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from services.alerts.settings import AlertsSettings
from services.alerts.store.audited import COMMANDS
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.tables import SCHEMA, api_token
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import ServiceSpec, add_command
from shared.runtime.interrupts import ended_by_interrupt


def _run() -> Coroutine[Any, Any, int]:
    with ended_by_interrupt():
        # No other command needs it, and it takes a second.
        from services.alerts.main import run  # noqa: PLC0415
    return run()


SPEC = ServiceSpec(
    name="alerts",
    schema=SCHEMA,
    versions=Path(__file__).parents[1] / "store" / "versions",
    token_table=api_token,
    run=_run,
    states=COMMANDS,
)

add = partial(add_command, SPEC)
"""`add(commands, name, action, text)`: adds a command that runs with an engine."""


def business_clock() -> BusinessClock:
    """Return the clock of business time, as the service uses it."""
    return BusinessClock(SystemClock(), replay=AlertsSettings().clock == "replay")
