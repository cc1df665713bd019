"""Description of the service, used by its command line."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from services.ingest.store.audited import COMMANDS
from services.ingest.store.tables import SCHEMA, api_token
from shared.runtime.command_line import ServiceSpec
from shared.runtime.interrupts import ended_by_interrupt


def _run() -> Coroutine[Any, Any, int]:
    with ended_by_interrupt():
        # No other command needs all of it, and it takes a second.
        from services.ingest.main import run  # noqa: PLC0415
    return run()


SPEC = ServiceSpec(
    name="ingest",
    schema=SCHEMA,
    versions=Path(__file__).parents[1] / "store" / "versions",
    token_table=api_token,
    run=_run,
    states=COMMANDS,
)
