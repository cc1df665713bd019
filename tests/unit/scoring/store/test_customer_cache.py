"""What a worker keeps in memory never differs from what is stored."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.scoring.core.risk.timers import PULLED
from services.scoring.core.value.grades import GRADES
from services.scoring.ports import LoadedRows
from shared.kernel.arrays import Floats
from shared.postgres.engine import UnitOfWork
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.scoring_store import MemorySender, MemoryStore, Remembering, Tables
from tests.fakes.scoring_worker import ScoringWorker


async def _run(store: MemoryStore, seen: Remembering | MemoryStore) -> Tables:
    """Process purchases of twenty customers in small batches.

    There are duplicates, sweeps and take-overs.
    """
    draw = random.Random(5)  # noqa: S311 (a fixed history)
    scoring = ScoringWorker(seen, MemorySender())
    for n in range(300):
        who, at = draw.randrange(20), day(draw.randrange(40))
        value = activity.event(f"e{n % 250}-{who}", f"c{who}", at)
        if n % 9 == 0:
            value = activity.profile(f"p{n}", f"c{who}", at, name=f"Name {n}")
        scoring.log.append(who % 2, value)
    scoring.clock.at = day(40)
    while True:
        await scoring.claim(*([0, 1] if draw.random() < 0.2 or not scoring.claims else []))
        await scoring.turn(draw.choice([1, 7, 30]))
        scoring.clock.at += timedelta(hours=6)
        scoring.clock.seconds += 1
        if scoring.at_end:
            return store.tables


@pytest.mark.parametrize("customers_max", [0, 3, 1_000])
async def test_the_same_tables_with_and_without(customers_max: int) -> None:
    """Every table ends the same, whatever is cached and whatever was evicted."""
    plain, behind = MemoryStore(), MemoryStore()
    expected = await _run(plain, plain)
    found = await _run(behind, Remembering(behind, customers_max))
    assert expected.assessment
    assert expected.standing
    for table in Tables.__slots__:
        assert getattr(found, table) == getattr(expected, table), table


async def test_no_more_than_allowed_is_remembered() -> None:
    """The least recently used customer is evicted."""
    store = Remembering(MemoryStore(), 2)
    scoring = ScoringWorker(store, MemorySender())
    scoring.clock.at = day(0)
    await scoring.claim(0)
    for n, name in enumerate(("ann", "bob", "ann", "eve")):
        scoring.log.append(0, activity.event(f"e{n}", name, day(0)))
        await scoring.turn()
    async with store.open() as work:
        loaded = await store.load(work, ["ann", "bob", "eve"], np.full(3, np.nan))
    assert all(loaded.state)
    assert len(store) == 2


async def test_a_claim_forgets_and_so_does_a_failure() -> None:
    """What another process may have written meanwhile is read again."""
    store = Remembering(MemoryStore(), 10)
    scoring = ScoringWorker(store, MemorySender())
    for partition in (0, 1):
        scoring.log.append(partition, activity.event("e", f"c{partition}", day(0)))
    await scoring.drain()
    assert len(store) == 2
    await scoring.claim(1)
    assert len(store) == 0
    for partition in (0, 1):
        scoring.log.append(partition, activity.event("f", f"c{partition}", day(0)))
    await scoring.drain()
    assert len(store) == 2
    with pytest.raises(ZeroDivisionError):
        async with store.open():
            raise ZeroDivisionError
    assert len(store) == 0


async def test_a_pulled_timer_is_seen() -> None:
    """Another process moved the timer of a cached customer: the assessment is not skipped."""
    tables = MemoryStore()
    scoring = ScoringWorker(Remembering(tables, 10), MemorySender())
    scoring.log.append(0, activity.event("e", "ann", day(0)))
    scoring.clock.at = day(1)
    await scoring.drain()
    revision = tables.tables.assessment["ann"].revision
    tables.tables.timer["ann"] = 0, datetime.fromtimestamp(PULLED, UTC)
    await scoring.idle(5)
    assert tables.tables.assessment["ann"].revision == revision + 1


async def test_who_is_due_by_our_own_timer_is_not_read_again() -> None:
    """This worker set the timer that fires, so nothing can have changed.

    A customer who was never cached is read, and evicts no other.
    """
    tables = MemoryStore()
    seen = Remembering(tables, 10)
    scoring = ScoringWorker(seen, MemorySender())
    for n in range(5):
        scoring.log.append(0, activity.event(f"e{n}", "ann", day(n)))
    scoring.clock.at = day(5)
    await scoring.drain()
    read: list[str] = []
    load = tables.load

    async def counting(work: UnitOfWork, customers: Sequence[str], due_at: Floats) -> LoadedRows:
        read.extend(customers)
        return await load(work, customers, due_at)

    tables.load = counting  # type: ignore[method-assign]
    for _ in range(20):
        scoring.clock.at += timedelta(days=1)
        await scoring.idle(5)
    assert tables.tables.assessment["ann"].assessed_at > day(6)
    assert read == []
    seen.forget()
    for _ in range(2):
        scoring.clock.at += timedelta(days=14)
        await scoring.idle(5)
    assert read == ["ann", "ann"]
    assert len(seen) == 0


async def test_a_grade_set_by_hand_is_seen() -> None:
    """It comes with a changed timer, so that the cached customer is read anew."""
    tables = MemoryStore()
    scoring = ScoringWorker(Remembering(tables, 10), MemorySender())
    scoring.clock.at = day(1)
    await scoring.claim(0)
    for n in range(2):
        scoring.log.append(0, activity.event(f"e{n}", "ann", day(0)))
        await scoring.turn()
    assert not tables.tables.standing["ann"].overridden
    tables.tables.override["ann"] = GRADES[0], day(99)
    tables.tables.timer["ann"] = 0, datetime.fromtimestamp(PULLED, UTC)
    await scoring.idle(5)
    assert tables.tables.standing["ann"].overridden
    assert tables.tables.standing["ann"].grade == GRADES[0]
