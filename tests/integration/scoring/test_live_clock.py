"""Live business time: the wall clock at the end of the log, the log's own time before it.

So lag is never mistaken for silence (invariant 4).
"""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.ports import NOW
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.scoring_rows import assessed
from tests.fakes.scoring_worker import TOPIC, ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, assessments, table

pytestmark = pytest.mark.stack

DAY = timedelta(days=1)


@pytest.fixture
def scoring(engine: AsyncEngine, store: PostgresStore) -> ScoringWorker:
    """Provide a live worker with a wall clock that the test sets."""
    return ScoringWorker(store, Relayed(engine))


def buys(scoring: ScoringWorker, customer: str, *days: float, partition: int = 0) -> None:
    """Append purchases that arrived in the log when they happened."""
    for at in days:
        arrived = int(day(at).timestamp() * 1000)
        value = activity.event(f"{customer}-{at}", customer, day(at))
        scoring.log.append(partition, value, timestamp=arrived)


async def pass_days(scoring: ScoringWorker, days: int) -> None:
    """Advance time by days without records, with one sweep each."""
    for _ in range(days):
        scoring.clock.pass_by(DAY)
        await scoring.turn(0)


async def now_of(engine: AsyncEngine, partition: int = 0) -> datetime:
    """Return the business time that was committed with the partition."""
    [row] = [r for r in await table(engine, "partition") if r["partition"] == partition]
    return datetime.fromtimestamp(json.loads(row["progress"])[NOW], UTC)


async def test_an_event_is_assessed_at_the_wall_clock(scoring: ScoringWorker) -> None:
    """A record at the end of the log is assessed at once, with the event in it.

    The message contains when the event was received.
    """
    buys(scoring, "ann", 0)
    scoring.clock.at = day(0.25)
    await scoring.drain()
    [told] = scoring.told
    assert (told.assessed_at, told.purchases) == (day(0.25), 1)
    assert told.received_ms == activity.RECEIVED_MS
    assert told.days_silent == pytest.approx(0.25)


async def test_silence_is_noticed_without_an_event(scoring: ScoringWorker) -> None:
    """A weekly buyer stops: without any record the band rises step by step at the wall clock.

    The messages to the owner have no event as their cause (R2).
    """
    buys(scoring, "ann", *range(0, 70, 7))
    scoring.clock.at = day(63.5)
    await scoring.drain()
    assert scoring.told[-1].band == "low"
    await pass_days(scoring, 90)
    bands = [told.band for told in scoring.told]
    assert bands == sorted(bands, key=["low", "watch", "high", "critical"].index)
    assert bands[-1] == "critical"
    raised = next(told for told in scoring.told if told.band == "high")
    assert raised.received_ms == 0
    assert raised.reasons
    assert raised.days_silent is not None
    assert raised.usual_gap_days is not None
    assert raised.days_silent > raised.usual_gap_days == pytest.approx(7)


async def test_a_partition_that_is_behind_knows_no_silence(
    scoring: ScoringWorker, engine: AsyncEngine
) -> None:
    """The worker was away for two months while the customer bought every day.

    While it catches up, time is when the last record that was read arrived: no customer is silent.
    """
    buys(scoring, "ann", *range(70))
    scoring.clock.at = day(5)
    await scoring.claim(0)
    await scoring.turn({(TOPIC, 0): 6})
    scoring.clock.at = day(69.5)
    for _ in range(63):
        scoring.clock.seconds += 10
        await scoring.turn(0)  # idle while behind: time does not move
        await scoring.turn(1)
        assert (await now_of(engine)) <= day(69)
    await scoring.drain()
    assert await now_of(engine) == day(69.5)
    assert {told.band for told in scoring.told} == {"low"}
    await pass_days(scoring, 60)
    assert scoring.told[-1].band == "critical"


async def test_no_timer_fires_behind_the_end(scoring: ScoringWorker, engine: AsyncEngine) -> None:
    """Timers are due by the wall clock, but unread records stand before the end.

    The sweep waits for them, and the customer who bought meanwhile is not assessed as silent.
    """
    buys(scoring, "ann", 0, 7, 14, 21)
    buys(scoring, "bob", 0, 7, 14, 21)
    scoring.clock.at = day(21)
    await scoring.drain()
    before = await assessments(engine)
    buys(scoring, "ann", 28, 35, 42)
    scoring.clock.at = day(49)
    scoring.clock.seconds += 100
    await scoring.turn(0)
    assert await assessments(engine) == before
    await scoring.turn(1)  # up to day 28
    after = {r["customer_id"]: r for r in await assessments(engine)}
    assert after["ann"]["assessed_at"] == day(28)
    assert after["bob"]["assessed_at"] <= day(28)
    await scoring.drain()
    scoring.clock.seconds += 100
    await scoring.turn(0)
    after = {r["customer_id"]: r for r in await assessments(engine)}
    assert after["bob"]["assessed_at"] == day(49)
    assert after["bob"]["probability"] > after["ann"]["probability"]


async def test_partitions_have_their_own_time(scoring: ScoringWorker, engine: AsyncEngine) -> None:
    """One partition is behind; the other one's customers are swept at the wall clock."""
    for customer, partition in (("ann", 0), ("bob", 1)):
        buys(scoring, customer, 0, 7, 14, partition=partition)
    scoring.clock.at = day(14)
    await scoring.drain()
    buys(scoring, "ann", 15, 16)
    await pass_days(scoring, 30)
    rows = {r["customer_id"]: r for r in await assessments(engine)}
    assert rows["ann"]["assessed_at"] == day(14)
    assert rows["bob"]["assessed_at"] > day(40)


async def test_the_clock_jumps_back(scoring: ScoringWorker, engine: AsyncEngine) -> None:
    """The wall clock was an hour ahead and is corrected.

    The partition's time stands still until the hour has passed; nothing is assessed twice, nothing
    fails.
    """
    buys(scoring, "ann", 0)
    scoring.clock.at = day(0) + timedelta(hours=1)
    await scoring.drain()
    scoring.clock.at = day(0)
    buys(scoring, "bob", 0)
    await scoring.drain()
    assert await now_of(engine) == day(0) + timedelta(hours=1)
    assert {t.assessed_at for t in scoring.told} == {day(0) + timedelta(hours=1)}


async def test_a_sweep_is_bounded(engine: AsyncEngine, store: PostgresStore) -> None:
    """Many customers are due at once: each batch assesses a bounded number, oldest due first.

    Batches follow at once while no event waits. An event that comes meanwhile is folded in the next
    batch, not after the sweep, and that batch sweeps only when the interval has passed.
    """
    scoring = ScoringWorker(store, Relayed(engine), sweep_customers_max=10)
    for n in range(35):
        buys(scoring, f"c{n:02}", n / 100)
    scoring.clock.at = day(1)
    await scoring.drain()
    scoring.clock.pass_by(20 * DAY)
    scoring.done.clear()
    buys(scoring, "new", 21)
    await scoring.turn()
    first = scoring.done[0]
    assert {a.customer for a in assessed(first)} == {"new", *(f"c{n:02}" for n in range(10))}
    looked = {a.customer for a in assessed(first)}
    for _ in range(2):
        await scoring.turn(0)
        looked |= {a.customer for a in assessed(scoring.done[-1])}
    assert len(looked) == 31
    buys(scoring, "another", 21)
    await scoring.turn()
    assert {a.customer for a in assessed(scoring.done[-1])} == {"another"}
    await scoring.turn(0)
    looked |= {a.customer for a in assessed(scoring.done[-1])}
    assert len(looked) == 36
    scoring.done.clear()
    await scoring.idle(1)
    assert scoring.done == []


async def test_sweeps_keep_their_distance(scoring: ScoringWorker) -> None:
    """An idle worker queries due customers once in an interval, not with every poll."""
    buys(scoring, "ann", 0)
    scoring.clock.at = day(0)
    await scoring.drain()
    scoring.clock.at = day(30)
    await scoring.turn(0)
    assert len(scoring.done) == 1
    await scoring.idle(1)
    assert len(scoring.done) == 2


async def test_a_prospect_is_not_assessed(scoring: ScoringWorker, engine: AsyncEngine) -> None:
    """Visits without a purchase build a state and lead to no assessment.

    The first purchase is the first assessment, and no onboarding.
    """
    for n in range(3):
        scoring.log.append(0, activity.interaction(f"v{n}", "ann", day(n)))
    scoring.clock.at = day(3)
    await scoring.drain()
    await pass_days(scoring, 30)
    assert len(await assessments(engine)) == 0
    assert scoring.told == []
    buys(scoring, "ann", 33)
    await scoring.drain()
    [told] = scoring.told
    assert (told.purchases, told.onboarding, told.previous_band) == (1, False, None)


async def test_ticks_mean_nothing_live(scoring: ScoringWorker, engine: AsyncEngine) -> None:
    """A tick in a live log is consumed and moves no time."""
    buys(scoring, "ann", 0)
    scoring.log.append(0, activity.tick(day(500)))
    scoring.clock.at = day(1)
    await scoring.drain()
    assert await now_of(engine) == day(1)
    assert (await table(engine, "partition"))[0]["next_offset"] == 2
