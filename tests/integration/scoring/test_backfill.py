"""Imported history publishes nothing; the first assessment afterwards is marked as onboarding.

Invariant 9, R22.
"""

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import assert_stored, history, states
from tests.fakes.scoring_worker import ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, assessments, table

pytestmark = pytest.mark.stack

IMPORT = "import-1"


def scoring_of(engine: AsyncEngine, store: PostgresStore, *, replay: bool) -> ScoringWorker:
    """Return a worker that is live on day 20 unless it replays."""
    made = ScoringWorker(store, Relayed(engine), replay=replay)
    made.clock.at = day(20)
    return made


def imports(scoring: ScoringWorker, customer: str, *days: float, partition: int = 0) -> None:
    """Append imported purchases of the past."""
    for at in days:
        value = activity.event(f"{customer}-{at}", customer, day(at), backfill=IMPORT)
        scoring.log.append(partition, value)


def buys(scoring: ScoringWorker, customer: str, *days: float, partition: int = 0) -> None:
    """Append live purchases."""
    for at in days:
        scoring.log.append(partition, activity.event(f"{customer}-{at}", customer, day(at)))


async def now(scoring: ScoringWorker, at: float, *partitions: int) -> None:
    """Move time to this day: by the wall clock and a sweep, or by ticks."""
    if scoring.replay:
        for partition in partitions or (0,):
            scoring.log.append(partition, activity.tick(day(at)))
        await scoring.drain()
    else:
        scoring.clock.at = day(at)
        await scoring.idle(100)


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("batch", [1, 7, 1_000])
async def test_silent_until_it_has_ended(
    engine: AsyncEngine, store: PostgresStore, batch: int, *, replay: bool
) -> None:
    """No assessment and no message while the import runs, however long; the states are complete.

    After its end every customer who has bought gets one first assessment, with the cause
    onboarding.
    """
    scoring = scoring_of(engine, store, replay=replay)
    happenings = history(20, 15, seed=11)
    for happening in happenings:
        scoring.log.append(0, happening.value(IMPORT))
    await scoring.drain(lambda: batch)
    for at in (21, 40):
        await now(scoring, at)
    assert scoring.told == []
    assert len(await assessments(engine)) == 0
    found = {r["customer_id"]: r["state"] for r in await table(engine, "customer_state")}
    assert_stored(found, states(happenings))

    scoring.log.append(0, activity.ended(day(41)))
    await scoring.drain()
    await now(scoring, 42)
    buyers = {h.customer for h in happenings if h.kind == 1}
    assert {t.customer_id for t in scoring.told} == buyers
    assert len(scoring.told) == len(buyers)
    assert all(t.onboarding and t.previous_band is None for t in scoring.told)
    assert {t.assessed_at for t in scoring.told} <= {day(40), day(42)}
    await now(scoring, 43)
    assert not any(t.onboarding for t in scoring.told[len(buyers) :])


async def test_live_customers_are_assessed_during_an_import(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """While an import runs, a customer who buys live is assessed at once.

    A customer outside the import is not marked as onboarding; an imported customer is, once.
    """
    scoring = scoring_of(engine, store, replay=False)
    imports(scoring, "ann", 0, 5, 10)
    await scoring.drain()
    buys(scoring, "ann", 20)
    buys(scoring, "bob", 20)
    await scoring.drain()
    assert {(t.customer_id, t.purchases, t.onboarding) for t in scoring.told} == {
        ("ann", 4, True),
        ("bob", 1, False),
    }
    scoring.log.append(0, activity.ended(day(20)))
    await scoring.drain()
    await now(scoring, 21)
    assert [t.customer_id for t in scoring.told if t.onboarding] == ["ann"]


async def test_imported_and_live_in_one_batch(engine: AsyncEngine, store: PostgresStore) -> None:
    """Holds also where nothing was stored before the batch."""
    scoring = scoring_of(engine, store, replay=False)
    imports(scoring, "ann", 0, 5)
    buys(scoring, "ann", 20)
    buys(scoring, "bob", 20)
    await scoring.drain()
    assert {(t.customer_id, t.purchases, t.onboarding) for t in scoring.told} == {
        ("ann", 3, True),
        ("bob", 1, False),
    }


async def test_a_partition_rests_alone(engine: AsyncEngine, store: PostgresStore) -> None:
    """The sweep pauses only in the partition where the import is under way."""
    scoring = scoring_of(engine, store, replay=False)
    buys(scoring, "ann", 0, 7, 14, partition=0)
    buys(scoring, "bob", 0, 7, 14, partition=1)
    await scoring.drain()
    imports(scoring, "eve", 1, partition=0)
    await scoring.drain()
    await now(scoring, 90)
    assert {t.customer_id for t in scoring.told if t.assessed_at > day(20)} == {"bob"}
    scoring.log.append(0, activity.ended(day(90)))
    await scoring.drain()
    await now(scoring, 91)
    assert {t.customer_id for t in scoring.told if t.assessed_at > day(20)} == {"ann", "bob", "eve"}


async def test_silence_survives_a_new_owner(engine: AsyncEngine, store: PostgresStore) -> None:
    """The import's state is stored with the offset, so a new owner publishes nothing either."""
    first = scoring_of(engine, store, replay=False)
    imports(first, "ann", 0, 1)
    await first.drain()
    second = scoring_of(engine, store, replay=False)
    second.log = first.log
    await second.claim(0)
    await now(second, 50)
    assert second.told == []
    second.log.append(0, activity.ended(day(50)))
    await second.drain()
    await now(second, 51)
    assert [t.onboarding for t in second.told] == [True]


@pytest.mark.parametrize("replay", [False, True])
async def test_a_straggler_does_not_stop_the_watch(
    engine: AsyncEngine, store: PostgresStore, *, replay: bool
) -> None:
    """An event of the import comes after its end.

    It came through another partition upstream, or as a replayed dead letter. Its customer is
    assessed like all others, and the sweep goes on.
    """
    scoring = scoring_of(engine, store, replay=replay)
    imports(scoring, "ann", 0, 1, 2, 3)
    scoring.log.append(0, activity.ended(day(20)))
    await scoring.drain()
    await now(scoring, 20.5)
    imports(scoring, "ann", 4)
    imports(scoring, "eve", 5)
    await scoring.drain()
    await now(scoring, 21)
    assert [t.onboarding for t in scoring.told if t.customer_id == "eve"] == [True]
    await now(scoring, 90)
    assert scoring.told[-1].assessed_at == day(90)


async def test_a_second_import_is_silent_too(engine: AsyncEngine, store: PostgresStore) -> None:
    """A second import publishes nothing either; its known customers are assessed after it."""
    scoring = scoring_of(engine, store, replay=False)
    imports(scoring, "ann", 0, 1)
    scoring.log.append(0, activity.ended(day(20)))
    await scoring.drain()
    await now(scoring, 20.5)
    scoring.log.append(0, activity.event("x", "eve", day(2), backfill="import-2"))
    await scoring.drain()
    await now(scoring, 60)
    assert {t.customer_id for t in scoring.told} == {"ann"}
    assert all(t.assessed_at <= day(20.5) for t in scoring.told)
    scoring.log.append(0, activity.ended(day(60)))
    await scoring.drain()
    await now(scoring, 61)
    assert {t.customer_id for t in scoring.told} == {"ann", "eve"}


async def test_the_first_day_is_bounded(engine: AsyncEngine, store: PostgresStore) -> None:
    """All customers are due at once when an import ends: each batch assesses a bounded number."""
    scoring = ScoringWorker(store, Relayed(engine), sweep_customers_max=10)
    scoring.clock.at = day(20)
    for n in range(35):
        imports(scoring, f"c{n:02}", n / 10)
    await scoring.drain()
    scoring.log.append(0, activity.ended(day(20)))
    await scoring.drain()
    scoring.done.clear()
    for _ in range(4):
        scoring.clock.pass_by(timedelta(seconds=1))
        await scoring.turn(0)
    assert max(len(done.assessments) for done in scoring.done) == 10
    assert {t.customer_id for t in scoring.told} == {f"c{n:02}" for n in range(35)}
    assert len(scoring.told) == 35
