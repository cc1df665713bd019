"""Description of the service, used by every command of scoring."""

from functools import partial
from pathlib import Path

from services.scoring.main import run
from services.scoring.store.audited import COMMANDS
from services.scoring.store.tables import SCHEMA, api_token
from shared.runtime.command_line import ServiceSpec, on_database

SPEC = ServiceSpec(
    name="scoring",
    schema=SCHEMA,
    versions=Path(__file__).parents[1] / "store" / "versions",
    token_table=api_token,
    run=run,
    states=COMMANDS,
)

command = partial(on_database, SPEC)
"""`command(action)`: the command that runs an action with an engine."""
