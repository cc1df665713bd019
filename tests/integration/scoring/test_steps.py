"""Batches that pass several ticks, on real tables.

The numbers are in tests/unit/scoring/handlers/test_steps.py.
"""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.value.compare import ClassificationRows
from services.scoring.inbound import activity as decoding
from services.scoring.store.classification import STAGING, ClassificationTable
from shared.contracts.changes import ChangeKind, CustomerChanged
from shared.postgres.engine import unit_of_work
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import history
from tests.fakes.scoring_worker import ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, table

pytestmark = pytest.mark.stack

TABLES = (
    "event_key", "event", "customer_state", "timer", "assessment_history", "profile",
    "standing", "standing_change",
)  # fmt: skip
OF_THE_WRITE = ("id", "recorded_at")
"""Columns that identify the write rather than describe a customer."""


async def contents(engine: AsyncEngine) -> dict[str, list[str]]:
    """Return every row that a batch writes, in a fixed order."""
    return {
        name: sorted(
            repr({key: value for key, value in row.items() if key not in OF_THE_WRITE})
            for row in await table(engine, name)
        )
        for name in TABLES
    }


async def replayed(engine: AsyncEngine, store: PostgresStore) -> tuple[dict[str, Any], int]:
    """Replay a month; return what it leaves, and in how many batches."""
    scoring, today = ScoringWorker(store, Relayed(engine), replay=True), 1
    for happening in history(25, 30, seed=8):
        while happening.time >= day(today):
            for partition in (0, 1):
                scoring.log.append(partition, activity.tick(day(today)))
            today += 1
        scoring.log.append(int(happening.customer[1:]) % 2, happening.value())
    for partition in (0, 1):
        scoring.log.append(partition, activity.tick(day(60)))
    await scoring.drain(lambda: 60)
    return await contents(engine), len(scoring.done)


async def test_several_ticks_in_a_batch_store_the_same_as_one_by_one(
    engine: AsyncEngine, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is the same to the byte: current, last published, and the history."""
    several, few = await replayed(engine, store)
    async with engine.begin() as connection:
        for name in (*TABLES, "partition", "outbox", "segment_member"):
            await connection.execute(sa.text(f"DELETE FROM scoring.{name}"))  # noqa: S608
    monkeypatch.setattr(decoding, "STEPS_MAX", 1)
    single, many = await replayed(engine, store)
    assert few < many
    for name in TABLES:
        assert several[name] == single[name], name
        assert single[name], name


NOTHING: dict[str, Any] = {field.name: np.empty(0) for field in fields(ClassificationRows)}
NO_ROWS = ClassificationRows(**NOTHING)


def moved(sequence: int, kind: ChangeKind, at: float) -> CustomerChanged:
    """Return a move into the segment, or out of it."""
    return CustomerChanged(
        customer_id="ann", sequence=sequence, kind=kind, at=day(at), segment="vip",
        segment_version=1,
    )  # fmt: skip


async def test_the_last_move_of_a_turn_holds(engine: AsyncEngine) -> None:
    """In and out again is out; out and in again is in, since then; in stays in."""
    standings = ClassificationTable()
    enters: ChangeKind = "segment_entered"
    leaves: ChangeKind = "segment_left"
    async with engine.begin() as connection:
        await connection.execute(
            sa.text("ALTER TABLE scoring.segment_member DISABLE TRIGGER ALL")
        )  # the segment itself does not matter here
    for moves, inside in (
        ([moved(1, enters, 1), moved(2, leaves, 2)], []),
        ([moved(3, enters, 3)], [day(3)]),
        ([moved(4, leaves, 4), moved(5, enters, 5)], [day(5)]),
        ([moved(6, leaves, 6), moved(7, enters, 7), moved(8, leaves, 8)], []),
    ):
        async with unit_of_work(engine) as work:
            await work.driver.execute(STAGING)
            await standings.write(work, NO_ROWS, moves)
        assert [row["entered_at"] for row in await table(engine, "segment_member")] == inside
