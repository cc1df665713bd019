"""A new feature set: scoring waits for the rebuilt states and continues where it was."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.state import FEATURE_SET, from_bytes
from services.scoring.handlers import rebuild as rebuilding
from services.scoring.handlers.rebuild import Rebuilt, rebuild
from services.scoring.store.rebuild import REASON, Rebuilding
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.contracts.events import Profile
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Fenced
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.scoring_worker import TOPIC, ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, table
from tests.unit.scoring.core.strategies import assert_states_equal

pytestmark = pytest.mark.stack


@pytest.fixture
async def scoring(store: PostgresStore, engine: AsyncEngine) -> AsyncIterator[ScoringWorker]:
    """Provide sixty folded purchases of twenty customers, with states of an older feature set."""
    made = ScoringWorker(store, Relayed(engine))
    made.clock.at = day(40)
    for n in range(60):
        data = ActivityData(amount=float(n), category=f"c{n % 3}")
        value = activity.event(f"e{n}", f"customer-{n % 20}", day(n % 30), data=data)
        made.log.append(n % 20 % 2, value)
    profile = activity.event(
        "p", "nobody", day(0), kind=types.PROFILE, data=ActivityData(profile=Profile(name="N"))
    )
    made.log.append(0, profile)
    await made.drain()
    yield made


async def _states(engine: AsyncEngine) -> dict[str, bytes]:
    return {row["customer_id"]: row["state"] for row in await table(engine, "customer_state")}


async def _age(engine: AsyncEngine) -> None:
    async with unit_of_work(engine) as work:
        await work.driver.execute(
            "UPDATE scoring.customer_state SET feature_set = $1, state = '\\x00'", FEATURE_SET - 1
        )


@pytest.mark.parametrize("slice_customers", [1_000, 6])
async def test_rebuilt_states_are_those_that_were_folded(
    scoring: ScoringWorker,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    slice_customers: int,
) -> None:
    """The rebuilt states are exactly the folded ones, in one slice or several.

    Then live events are folded again.
    """
    monkeypatch.setattr(rebuilding, "SLICE_CUSTOMERS", slice_customers)
    before = await _states(engine)
    await _age(engine)
    reported: list[int] = []
    done = await rebuild(Rebuilding(engine, TOPIC), lambda made, _: reported.append(made.customers))
    assert done == Rebuilt(customers=21, events=60, bare=1)
    assert reported[-1] == 21
    after = await _states(engine)
    assert after.keys() == before.keys()
    names = sorted(before)
    assert_states_equal(
        from_bytes([after[name] for name in names]), from_bytes([before[name] for name in names])
    )
    scoring.log.append(0, activity.event("new", "customer-0", day(39)))
    with pytest.raises(Fenced):  # a worker that was active meanwhile
        await scoring.turn()
    await scoring.drain()
    assert scoring.at_end


async def test_scoring_waits_and_loses_nothing(scoring: ScoringWorker, engine: AsyncEngine) -> None:
    """Before the rebuild a batch fails with a transient error; the offset stays."""
    await _age(engine)
    scoring.log.append(0, activity.event("new", "customer-0", day(39)))
    with pytest.raises(Transient, match="rebuild"):
        await scoring.turn()
    await rebuild(Rebuilding(engine, TOPIC), lambda *_: None)
    await scoring.drain()
    assert scoring.at_end


async def test_an_interrupted_rebuild_keeps_the_partitions_still(
    scoring: ScoringWorker, engine: AsyncEngine
) -> None:
    """Incomplete states are not folded into; the next run releases the partitions."""
    del scoring
    await _age(engine)
    with suppress(ZeroDivisionError):
        async with Rebuilding(engine, TOPIC).stopped():
            raise ZeroDivisionError
    stopped = await table(engine, "partition")
    assert {(row["status"], row["status_reason"]) for row in stopped} == {("stopped", REASON)}
    await rebuild(Rebuilding(engine, TOPIC), lambda *_: None)
    assert {row["status"] for row in await table(engine, "partition")} == {"running"}


async def test_one_at_a_time(engine: AsyncEngine) -> None:
    """A second rebuild reports that one is running."""
    async with Rebuilding(engine, TOPIC).stopped():
        with pytest.raises(Transient, match="another rebuild"):
            await rebuild(Rebuilding(engine, TOPIC), lambda *_: None)
