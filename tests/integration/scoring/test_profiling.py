"""A customer who does not want to be assessed is kept, and neither scored nor learned from."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.handlers.heed_profiling import HeedProfiling
from services.scoring.store.history import HistoryReader
from services.scoring.store.monitoring import MonitoringTables
from services.scoring.store.value_jobs import ValueJobs
from services.scoring.training.data.stored_events import batch_of
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.contracts.events import Profile
from shared.postgres.ledger import Fenced
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.scoring_worker import RISK, ScoringWorker
from tests.integration.scoring.identity_cluster import CachedStore, Faults
from tests.integration.scoring.postgres import PostgresStore, Relayed, table

pytestmark = pytest.mark.stack

PEOPLE = ("c-1", "c-2")
SAME = (
    "state", "probability", "band", "method", "model_version", "assessed_at", "horizons",
    "look_at",
)  # fmt: skip


def worker(engine: AsyncEngine, store: PostgresStore, *, replay: bool = False) -> ScoringWorker:
    """Return a worker that leaves out who does not want to be assessed, as the service's does."""
    leave_out = HeedProfiling(RISK)
    return ScoringWorker(store, Relayed(engine), replay=replay, leave_out=leave_out)


def said(kind: str, customer: str, at: datetime) -> bytes:
    """Return a customer's statement about profiling, as an interaction."""
    data = ActivityData(kind=kind, channel="Profiling")
    return activity.event(f"{kind}-{at}", customer, at, kind=types.INTERACTION, data=data)


def marked(customer: str, at: datetime, *, refuses: bool) -> bytes:
    """Return a profile with the statement."""
    data = ActivityData(profile=Profile(name="Vera", no_profiling=refuses))
    return activity.event(f"p-{at}", customer, at, kind=types.PROFILE, data=data)


async def reach(scoring: ScoringWorker, at: datetime) -> None:
    """Let this time come: by a tick in a replay, by the clock otherwise."""
    if scoring.replay:
        scoring.log.append(0, activity.tick(at))
    scoring.clock.at = at
    await scoring.drain()


async def row_of(engine: AsyncEngine, customer: str, name: str = "customer_state") -> Any:
    """Return a customer's row of a table; None where there is none."""
    found = [row for row in await table(engine, name) if row["customer_id"] == customer]
    return found[0] if found else None


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("by_profile", [False, True])
async def test_refusing_and_allowing_again(
    engine: AsyncEngine, store: PostgresStore, replay: bool, by_profile: bool
) -> None:
    """Nothing is found meanwhile; afterwards all is as for one who never refused."""
    scoring = worker(engine, store, replay=replay)
    for n in range(8):
        for who in PEOPLE:
            scoring.log.append(0, activity.event(f"{who}-{n}", who, day(4 * n)))
    await reach(scoring, day(30))
    assert (await row_of(engine, "c-1"))["probability"] is not None
    refusal = (
        marked("c-1", day(30), refuses=True) if by_profile else said("unsubscribed", "c-1", day(30))
    )
    scoring.log.append(0, refusal)
    await reach(scoring, day(31))
    published = [m for m in scoring.sender.sent if m.topic == RISK and m.key == b"c-1"]
    assert published[-1].value is None
    kept = await row_of(engine, "c-1")
    assert kept["state"] is not None
    assert [kept[name] for name in SAME[1:]] == [None] * len(SAME[1:])
    standing = await row_of(engine, "c-1", "standing")
    assert [standing[name] for name in ("grade", "lifecycle", "worth")] == [None] * 3

    # Further purchases and weeks of silence: kept, and not assessed; nor is a profile a permission.
    for who in PEOPLE:
        scoring.log.append(0, activity.event(f"{who}-late", who, day(33)))
        scoring.log.append(0, activity.profile(f"{who}-sync", who, day(34), name="Vera"))
    await reach(scoring, day(40))
    await reach(scoring, day(120))
    assert (await row_of(engine, "c-1"))["probability"] is None
    assert [m for m in scoring.sender.sent if m.topic == RISK and m.key == b"c-1"] == published

    permission = (
        marked("c-1", day(120), refuses=False)
        if by_profile
        else said("subscribed", "c-1", day(120))
    )
    scoring.log.append(0, permission)
    scoring.log.append(0, activity.profile("c-2-last", "c-2", day(120), name="Vera"))
    await reach(scoring, day(121))
    first, second = await row_of(engine, "c-1"), await row_of(engine, "c-2")
    assert {name: first[name] for name in SAME} == {name: second[name] for name in SAME}
    graded = [await row_of(engine, who, "standing") for who in PEOPLE]
    assert graded[0]["grade"] == graded[1]["grade"]
    assert graded[0]["lifecycle"] == graded[1]["lifecycle"]
    last = [m for m in scoring.sender.sent if m.topic == RISK and m.key == b"c-1"][-1]
    assert last.value is not None


async def test_nothing_is_learned_or_measured_from_who_refuses(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """Training, evaluation, roll calls and the measured base read the others only."""
    scoring = worker(engine, store)

    async def read_by() -> list[set[str]]:
        history = HistoryReader(engine)
        learned = {c async for p in history.events() for c in batch_of(p).customers}
        made = {m.customer_id async for found in history.made(None, 100) for m in found}
        sample = {c for c, _ in await MonitoringTables(engine).sample(FEATURE_SET, 100)}
        base = set((await ValueJobs(engine).states("", 100)).customers)
        return [learned, made, sample, base]

    for n in range(6):
        for who in PEOPLE:
            scoring.log.append(0, activity.event(f"{who}-{n}", who, day(4 * n)))
    await reach(scoring, day(24))
    assert await read_by() == [set(PEOPLE)] * 4
    scoring.log.append(0, marked("c-1", day(24), refuses=True))
    await reach(scoring, day(25))
    assert await read_by() == [{"c-2"}] * 4
    assert await HistoryReader(engine).not_profiled(None) == 1
    assert await HistoryReader(engine).refused_since("c-1") == day(24)
    scoring.log.append(0, marked("c-1", day(26), refuses=False))
    await reach(scoring, day(27))
    assert await read_by() == [set(PEOPLE)] * 4
    assert await HistoryReader(engine).refused_since("c-1") is None


async def test_the_newest_word_counts_in_whatever_order_it_comes(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    scoring = worker(engine, store)
    scoring.log.append(0, activity.event("a", "c-1", day(0)))
    scoring.log.append(0, said("subscribed", "c-1", day(5)))
    scoring.log.append(0, said("unsubscribed", "c-1", day(2)))
    await reach(scoring, day(6))
    assert (await row_of(engine, "c-1"))["probability"] is not None
    scoring.clock.pass_by(timedelta(seconds=1))
    scoring.log.append(0, said("unsubscribed", "c-1", day(7)))
    scoring.log.append(0, said("subscribed", "c-1", day(6)))
    await reach(scoring, day(8))
    assert (await row_of(engine, "c-1"))["probability"] is None


async def _go_on(scoring: ScoringWorker, at: float) -> None:
    """Let this time come without a claim, which would empty the cache; sweep, too."""
    scoring.clock.at = day(at)
    while not scoring.at_end:
        await scoring.turn()
    await scoring.idle(10)


def _caching(engine: AsyncEngine, **given: Any) -> ScoringWorker:
    """Return a worker that keeps in memory what it has read, as the service does."""
    store = CachedStore(engine, Faults())
    return ScoringWorker(store, Relayed(engine), leave_out=HeedProfiling(RISK), **given)


async def _is_cached(scoring: ScoringWorker) -> None:
    """Let a customer buy and be assessed."""
    for n in range(8):
        scoring.log.append(0, activity.event(f"e-{n}", "c-1", day(4 * n)))
    await scoring.claim()
    await _go_on(scoring, 30)
    assert len(scoring.store) == 1  # type: ignore[arg-type] # the cache's customers


@pytest.mark.parametrize("by_other_replica", [False, True])
async def test_a_cached_customer_who_refuses_is_assessed_no_more(
    engine: AsyncEngine, by_other_replica: bool
) -> None:
    """From the next batch on; also where another replica read the refusal, and after a return."""
    mine = _caching(engine)
    other = _caching(engine, log=mine.log)
    await _is_cached(mine)
    assert (await row_of(engine, "c-1"))["probability"] is not None
    mine.log.append(0, said("unsubscribed", "c-1", day(31)))
    if by_other_replica:
        await other.claim()
        await _go_on(other, 32)
        with pytest.raises(Fenced):  # it has not noticed that it lost the partition
            await _go_on(mine, 32)
        await mine.claim()
    await _go_on(mine, 32)
    for at in (40, 140):
        mine.log.append(0, activity.event(f"e-{at}", "c-1", day(at)))
        for later in (1, 60):
            await _go_on(mine, at + later)
            row = await row_of(engine, "c-1")
            assert [row[name] for name in SAME[1:]] == [None] * len(SAME[1:])
            assert (await row_of(engine, "c-1", "standing"))["lifecycle"] is None
    sent = [m.value for w in (mine, other) for m in w.sender.sent if m.topic == RISK]
    assert [value is None for value in sent].count(True) == 1
    assert sent[-1] is None, "the deletion is the last that was published"
    mine.log.append(0, said("subscribed", "c-1", day(300)))
    await _go_on(mine, 301)
    assert (await row_of(engine, "c-1"))["probability"] is not None


async def test_what_was_withdrawn_is_not_remembered(engine: AsyncEngine) -> None:
    """Who allows it again at once is published again, though nothing has changed since."""
    scoring = _caching(engine)
    await _is_cached(scoring)
    before = await row_of(engine, "c-1")
    scoring.log.append(0, said("unsubscribed", "c-1", day(30)))
    await _go_on(scoring, 30.01)
    scoring.log.append(0, said("subscribed", "c-1", day(30.02)))
    await _go_on(scoring, 30.03)
    after = await row_of(engine, "c-1")
    assert after["published_probability"] == pytest.approx(
        before["published_probability"], abs=0.01
    )
    sent = [m.value for m in scoring.sender.sent if m.topic == RISK]
    assert sent[-2] is None
    assert sent[-1] is not None
