"""After a restore, assessments are numbered above those that were published since the backup."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.restored import STEP, add_commands
from services.scoring.commands.service import SPEC
from services.scoring.store.tables import audit, customer_state
from shared.postgres.engine import unit_of_work
from tests.integration.commands import run_command

VALUES = {"partition": 0, "feature_set": 1, "state": b""}


async def test_revisions_are_raised_and_those_without_stay(
    engine: AsyncEngine, database_url: str
) -> None:
    """Every assessed customer's, in one audited step; in a replay the command refuses."""
    needed = {c.name for c in customer_state.c if not c.nullable and c.server_default is None}
    rows: list[dict[str, object]] = [
        {"customer_id": "ann", "revision": 7},
        {"customer_id": "bob", "revision": None},
    ]
    assert needed <= {"customer_id", *VALUES}
    async with unit_of_work(engine) as work:
        for row in rows:
            await work.connection.execute(customer_state.insert().values({**VALUES, **row}))
    settings = {"DATABASE_URL": database_url}
    status, out, _ = await run_command(SPEC, add_commands, settings, ["restored"])
    assert (status, out) == (0, "the assessments of 1 customers are numbered anew\n")
    async with unit_of_work(engine) as work:
        query = sa.select(customer_state.c.customer_id, customer_state.c.revision)
        found = {row.customer_id: row.revision for row in await work.connection.execute(query)}
        entries = await work.connection.scalar(sa.select(sa.func.count()).select_from(audit))
    assert found == {"ann": 7 + STEP, "bob": None}
    assert entries == 1
    replay = settings | {"EBBWATCH_SCORING_CLOCK": "replay"}
    status, _, err = await run_command(SPEC, add_commands, replay, ["restored"])
    assert status == 1
    assert "replay" in err
