"""In a replay time comes from ticks, and only the log decides what is published (invariant 4)."""

import random
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.registry import feature_index
from shared.contracts.risk import RiskAssessed
from tests.fakes import activity
from tests.fakes.activity import RECEIVED_MS, day
from tests.fakes.generated_history import history
from tests.fakes.scoring_rows import assessed
from tests.fakes.scoring_store import MemorySender, MemoryStore
from tests.fakes.scoring_worker import Claiming, ScoringWorker, Sending
from tests.integration.scoring.postgres import PostgresStore, Relayed, assessments, counts, table

pytestmark = pytest.mark.stack


@pytest.fixture
def scoring(engine: AsyncEngine, store: PostgresStore) -> ScoringWorker:
    """Provide a replay on the real tables."""
    return ScoringWorker(store, Relayed(engine), replay=True)


def buys(scoring: ScoringWorker, customer: str, *days: float, partition: int = 0) -> None:
    """Append purchases."""
    for at in days:
        scoring.log.append(partition, activity.event(f"{customer}-{at}", customer, day(at)))


async def test_no_customer_is_assessed_before_a_tick(
    scoring: ScoringWorker, engine: AsyncEngine
) -> None:
    """Events alone build states, and wall time has no effect.

    The tick assesses at its own time; the message contains when the tick was received.
    """
    buys(scoring, "ann", 0, 1, 2)
    await scoring.drain()
    await scoring.idle(1_000_000)
    assert scoring.told == []
    assert len(await assessments(engine)) == 0
    scoring.log.append(0, activity.tick(day(3), received_ms=RECEIVED_MS + 7))
    await scoring.drain()
    [told] = scoring.told
    assert (told.customer_id, told.assessed_at, told.purchases) == ("ann", day(3), 3)
    assert told.received_ms == RECEIVED_MS + 7
    assert told.days_silent == pytest.approx(1)


@pytest.mark.parametrize("batch", [1, 2, 100])
async def test_what_comes_after_a_tick_is_not_seen_at_it(
    scoring: ScoringWorker, batch: int
) -> None:
    """An assessment at a tick knows exactly the events before it, in any division into batches."""
    for at in range(4):
        buys(scoring, "ann", at)
        scoring.log.append(0, activity.tick(day(at + 0.5)))
    buys(scoring, "ann", 4)
    scoring.log.append(0, activity.tick(day(60)))
    await scoring.drain(lambda: batch)
    effects = [a for done in scoring.done for a in assessed(done)]
    assert [a.assessed_at for a in effects] == [day(at) for at in (0.5, 1.5, 2.5, 3.5, 60)]
    seen = [np.frombuffer(a.features)[feature_index["purchases"]] for a in effects]
    assert seen == [1, 2, 3, 4, 5]


async def test_a_tick_moves_its_own_partition(scoring: ScoringWorker, engine: AsyncEngine) -> None:
    """Each partition has its own time: one that has not reached the tick is not assessed at it."""
    buys(scoring, "ann", 0, partition=0)
    buys(scoring, "bob", 0, partition=1)
    scoring.log.append(0, activity.tick(day(1)))
    await scoring.drain()
    assert [t.customer_id for t in scoring.told] == ["ann"]
    scoring.log.append(1, activity.tick(day(1)))
    await scoring.drain()
    assert [t.customer_id for t in scoring.told] == ["ann", "bob"]
    progress = {r["partition"]: r["progress"] for r in await table(engine, "partition")}
    assert progress[0] == progress[1]


@pytest.mark.parametrize("batch", [1, 100])
async def test_a_sweep_beyond_its_bound_holds_the_tick(
    engine: AsyncEngine, store: PostgresStore, batch: int
) -> None:
    """More customers are due than one batch assesses.

    The tick is consumed when all were assessed, each once; the records after the tick wait.
    """
    scoring = ScoringWorker(store, Relayed(engine), replay=True, sweep_customers_max=10)
    names = [f"c{n:02}" for n in range(35)]
    for name in names:
        buys(scoring, name, 0)
    scoring.log.append(0, activity.tick(day(1)))
    buys(scoring, "late", 1.5)
    await scoring.claim(0)
    while not scoring.done or not len(scoring.done[-1].assessments):
        await scoring.turn(batch)
    seen: list[str] = []
    while len(seen) < len(names):
        turn = scoring.done[-1]
        assert len(turn.assessments)
        assert all(a.assessed_at == day(1) for a in assessed(turn))
        seen += [a.customer for a in assessed(turn)]
        assert (await counts(engine))["event"] == len(names)
        await scoring.turn(batch)
    assert sorted(seen) == names
    await scoring.drain()
    assert {r["revision"] for r in await assessments(engine)} == {1}
    assert (await counts(engine))["event"] == len(names) + 1


async def test_no_customer_is_assessed_twice_at_a_held_tick(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """A customer assessed because of an event in the tick's own batch is not assessed again.

    The rest of the sweep later reaches the timer that an earlier event had set.
    """
    scoring = ScoringWorker(store, Relayed(engine), replay=True, sweep_customers_max=10)
    for n in range(25):
        buys(scoring, f"c{n:02}", 0)
    buys(scoring, "zoe", 0)
    await scoring.drain()
    buys(scoring, "zoe", 0.5)
    scoring.log.append(0, activity.tick(day(1)))
    await scoring.drain()
    assert {r["customer_id"]: r["revision"] for r in await assessments(engine)} == {
        **{f"c{n:02}": 1 for n in range(25)},
        "zoe": 1,
    }


async def test_a_crash_in_a_held_tick(engine: AsyncEngine, store: PostgresStore) -> None:
    """The worker dies between two batches of a held tick; the next one continues with the rest."""
    scoring = ScoringWorker(store, Relayed(engine), replay=True, sweep_customers_max=10)
    for n in range(25):
        buys(scoring, f"c{n:02}", 0)
    await scoring.drain()
    scoring.log.append(0, activity.tick(day(1)))
    await scoring.turn()
    await scoring.claim(0)
    await scoring.drain()
    assert {r["revision"] for r in await assessments(engine)} == {1}
    assert len(await assessments(engine)) == 25


@pytest.mark.parametrize("at", [1, 2])
async def test_time_never_goes_back(scoring: ScoringWorker, engine: AsyncEngine, at: float) -> None:
    """A tick that was there before or an earlier one has no effect; later events wait for the next.

    A tick is sent again after a crash upstream.
    """
    buys(scoring, "ann", 0)
    scoring.log.append(0, activity.tick(day(2)))
    buys(scoring, "ann", 2.5)
    buys(scoring, "bob", 2.5)
    scoring.log.append(0, activity.tick(day(at)))
    await scoring.drain()
    assert [(t.customer_id, t.purchases) for t in scoring.told] == [("ann", 1)]
    assert len(await assessments(engine)) == 1
    scoring.log.append(0, activity.tick(day(3)))
    await scoring.drain()
    assert len(await assessments(engine)) == 2


@dataclass(frozen=True, slots=True)
class Run:
    """The result of processing the log in one division into batches."""

    revisions: dict[str, int]
    told: dict[str, list[RiskAssessed]]


async def run(
    store: Claiming, sender: Sending, seed: int, *, batches: list[int], sweep: int
) -> Run:
    """Process the same history with daily ticks, partly a backfill, in batches of these sizes."""
    source = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    scoring = ScoringWorker(store, sender, replay=True, sweep_customers_max=sweep)
    today = 0
    for happening in history(80, 40, seed=9):
        while happening.time >= day(today + 1):
            today += 1
            for partition in range(3):
                if today == 10:
                    scoring.log.append(partition, activity.ended(day(10)))
                scoring.log.append(partition, activity.tick(day(today)))
        backfill = "import-1" if today < 10 else None
        scoring.log.append(int(happening.customer[1:]) % 3, happening.value(backfill))
    await scoring.drain(lambda: source.choice(batches))
    revisions: dict[str, int] = {}
    told: dict[str, list[RiskAssessed]] = {}
    for effects in scoring.done:
        revisions |= {a.customer: a.revision for a in assessed(effects)}
    for message in scoring.told:
        told.setdefault(message.customer_id, []).append(message)
    return Run(revisions, told)


async def test_batches_decide_nothing(engine: AsyncEngine, store: PostgresStore) -> None:
    """One log is divided into batches in several ways.

    Every customer is assessed as often, with the same messages in the same order, revision by
    revision.
    """
    whole = await run(MemoryStore(), MemorySender(), 1, batches=[1_000], sweep=1_000)
    small = await run(MemoryStore(), MemorySender(), 2, batches=[0, 1, 3, 8], sweep=1_000)
    tight = await run(MemoryStore(), MemorySender(), 3, batches=[50], sweep=3)
    real = await run(store, Relayed(engine), 4, batches=[0, 2, 17], sweep=4)
    assert sum(map(len, whole.told.values())) > 100
    assert any(m.onboarding for found in whole.told.values() for m in found)
    for other in (small, tight, real):
        assert other.revisions == whole.revisions
        assert_same_told(other.told, whole.told)


def assert_same_told(
    found: dict[str, list[RiskAssessed]], expected: dict[str, list[RiskAssessed]]
) -> None:
    """Compare messages; floats to 1e-9."""
    assert sorted(found) == sorted(expected)
    for customer, messages in expected.items():
        assert len(found[customer]) == len(messages), customer
        for a, b in zip(found[customer], messages, strict=True):
            assert msgspec.to_builtins(a) == _close(msgspec.to_builtins(b))


def _close(value: object) -> object:
    """Compare the floats within the value to 1e-9."""
    if isinstance(value, dict):
        return {key: _close(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_close(inner) for inner in value]
    return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
