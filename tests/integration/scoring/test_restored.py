"""After a restore, assessments are numbered above those that were published since the backup."""

import numpy as np
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.restored import add_commands
from services.scoring.commands.service import SPEC
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.store.tables import audit, customer_state
from shared.contracts.topics import ACTIVITY
from shared.postgres.engine import unit_of_work
from tests.contract.scoring_store import EMPTY, RULE, assessment
from tests.fakes.activity import day
from tests.fakes.scoring_rows import written
from tests.integration.commands import run_command
from tests.integration.scoring.postgres import PostgresStore, table

VALUES = {"partition": 0, "feature_set": FEATURE_SET, "state": EMPTY}


async def numbers(engine: AsyncEngine) -> dict[str, int]:
    """Return the number of each customer's assessment."""
    return {row["customer_id"]: row["revision"] for row in await table(engine, "customer_state")}


async def test_assessments_are_numbered_anew(
    engine: AsyncEngine, store: PostgresStore, database_url: str
) -> None:
    """Those of assessed customers, and the first ones of others: they may have had numbers, too.

    One audited step, which keeps a partition's progress; done again, it gives no lower numbers. In
    a replay the command refuses.
    """
    needed = {c.name for c in customer_state.c if not c.nullable and c.server_default is None}
    rows: list[dict[str, object]] = [
        {"customer_id": "ann", "revision": 7},
        {"customer_id": "bob", "revision": None},
    ]
    assert needed <= {"customer_id", *VALUES}
    async with unit_of_work(engine) as work:
        for row in rows:
            await work.connection.execute(customer_state.insert().values({**VALUES, **row}))
    await store.take_over((ACTIVITY.name, 0))
    await store.ledger.amend(ACTIVITY.name, lambda progress: progress.update(now=1.5))
    settings = {"DATABASE_URL": database_url}
    status, out, _ = await run_command(SPEC, add_commands, settings, ["restored"])
    assert status == 0
    assert out == "the assessments of 1 customers, and of new ones, are numbered anew\n"
    async with unit_of_work(engine) as work:
        assert await work.connection.scalar(sa.select(sa.func.count()).select_from(audit)) == 1
    revisions = await numbers(engine)
    above = revisions["ann"]
    assert revisions == {"ann": above, "bob": None}
    assert above > 10**9, "no customer has had so many"
    (partition,) = await table(engine, "partition")
    assert '"now":1.5' in partition["progress"]

    names = ["eve", "ann", "bob"]  # in the order of `written`: states first
    async with store.open() as work:
        read = await store.load(work, names, np.full(len(names), np.nan))
        assert read.revision.tolist() == [above] * 3
        made = [assessment(name, above + 1, 0) for name in names]
        effects = written(RULE, day(0), states=[("eve", 0, EMPTY)], assessments=made)
        effects.stored, effects.timer = read.known, read.due_at
        await store.write(work, effects)
    assert await numbers(engine) == dict.fromkeys(names, above + 1)

    assert (await run_command(SPEC, add_commands, settings, ["restored"]))[0] == 0
    assert min((await numbers(engine)).values()) >= above + 1
    replay = settings | {"EBBWATCH_SCORING_CLOCK": "replay"}
    status, _, err = await run_command(SPEC, add_commands, replay, ["restored"])
    assert status == 1
    assert "replay" in err
