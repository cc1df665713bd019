"""What alerts did about customers reaches scoring's tables once, and training reads it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.stack import LocalStack
from services.scoring.store.treatments import Treatments
from shared.contracts.dead_letter import DeadLetter
from shared.contracts.treatment import ENCODER, TreatmentRecorded
from tests.fakes.log import MemoryLog
from tests.integration.scoring.postgres import table
from tests.integration.scoring.running import LIMIT_S, ServiceEnvironment, place, scoring

pytestmark = pytest.mark.stack

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def made(stack: LocalStack, database_url: str) -> AsyncIterator[ServiceEnvironment]:
    """Provide the test's own topics and tables."""
    async with place(stack, database_url, 2) as opened:
        yield opened


async def test_facts_are_kept_once_and_what_is_none_is_parked(made: ServiceEnvironment) -> None:
    """Facts sent twice, across a restart, are one row each.

    They include a holdout without a task and a verdict with its cause. Broken bytes, a NUL and a
    window that ends before it begins are dead letters.
    """
    raised = TreatmentRecorded(
        customer_id="ann", kind="task_raised", at=AT, task_id="t1", cause="silence",
        policy="default@3", revision=7, probability=0.6, until=AT + timedelta(days=28),
    )  # fmt: skip
    facts = [
        raised,
        TreatmentRecorded(customer_id="bob", kind="held_out", at=AT, until=AT + timedelta(days=28)),
        TreatmentRecorded(
            customer_id="ann", kind="verdict", at=AT + timedelta(days=2), task_id="t1",
            detail="leaving", leaving_cause="price",
        ),
    ]  # fmt: skip
    bad = [
        b"{}",
        ENCODER.encode(TreatmentRecorded(customer_id="a\0b", kind="held_out", at=AT)),
        ENCODER.encode(
            TreatmentRecorded(
                customer_id="eve", kind="held_out", at=AT, until=AT - timedelta(days=1)
            )
        ),
    ]
    log = MemoryLog("treatment")
    for n, value in enumerate([*map(ENCODER.encode, facts), *bad]):
        log.append(n % 2, value)
    for _ in range(2):
        async with scoring(made) as service:
            await service.until("/readyz", 200)
            await made.send(log, "treatment")
            await asyncio.wait_for(_read_to_the_end(made), LIMIT_S)
            assert await service.stop() == 0
    rows = await table(made.engine, "treatment")
    assert [(r["customer_id"], r["kind"], r["task_id"]) for r in rows] == [
        ("ann", "task_raised", "t1"), ("ann", "verdict", "t1"), ("bob", "held_out", ""),
    ]  # fmt: skip
    assert (rows[0]["policy"], rows[0]["revision"], rows[0]["probability"]) == ("default@3", 7, 0.6)
    assert (rows[1]["detail"], rows[1]["leaving_cause"]) == ("leaving", "price")
    dead = [
        DeadLetter.from_record(r.key, r.value, r.headers) for r in await made.read("dead-letter", 6)
    ]
    assert sorted({letter.field for letter in dead}) == ["until", "value"]
    assert {letter.stage for letter in dead} == {"scoring"}
    windows = await Treatments(made.engine).windows(AT + timedelta(days=1))
    assert [(w[0], w[1]) for w in windows] == [("ann", False), ("bob", True)]
    assert await Treatments(made.engine).windows(AT) == []


async def _read_to_the_end(made: ServiceEnvironment) -> None:
    ends = {r.partition: r.offset + 1 for r in await made.read("treatment")}
    while True:
        reached = {
            r["partition"]: r["next_offset"] or 0
            for r in await table(made.engine, "partition")
            if r["topic"] == made.topic("treatment")
        }
        if all(reached.get(p, 0) >= end for p, end in ends.items()):
            return
        await asyncio.sleep(0.05)
