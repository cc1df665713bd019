"""A worker that lost its partition without noticing writes nothing at all (invariant 2)."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.ports import BatchEffects
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Fenced
from shared.postgres.outbox import Pending
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import assert_stored, history, states
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_worker import TOPIC, ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, counts, table

pytestmark = pytest.mark.stack


HISTORY = history(10, 10, seed=31)
EXTRA = ("ann", "bob")


class Halting(PostgresStore):
    """A store that waits within a transaction, before it writes or before it commits."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.halt_before = self.halt_after = False
        self.halted, self.go = asyncio.Event(), asyncio.Event()

    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]:
        """Write as the real store does, with a pause."""
        if self.halt_before:
            await self._halt()
        pending = await super().write(work, effects)
        if self.halt_after:
            await self._halt()
        return pending

    async def _halt(self) -> None:
        self.halted.set()
        await self.go.wait()


def fill(log: MemoryLog) -> None:
    """Append events with every kind of effect.

    The effects are states, profiles, assessments, messages and dead letters.
    """
    for happening in HISTORY:
        log.append(int(happening.customer[1:]) % 2, happening.value())
    for partition, customer in enumerate(EXTRA):
        log.append(partition, activity.profile("p", customer, day(3), name="Ann"))
        log.append(partition, b"not json")
        log.append(partition, activity.event("x", customer, day(3)))
        log.append(partition, activity.event("x", customer, day(4)))


async def everything(engine: AsyncEngine) -> dict[str, Any]:
    """Return all rows of all tables."""
    names = await counts(engine)
    return {name: await table(engine, name) for name in names}


async def test_a_stale_epoch_writes_nothing(engine: AsyncEngine, store: PostgresStore) -> None:
    """One of two partitions has a new owner, and the whole batch is refused.

    Every table is as it was, and nothing is sent; the partition that stayed goes on alone.
    """
    old = ScoringWorker(store, Relayed(engine))
    fill(old.log)
    await old.claim(0, 1)
    await old.turn(5)
    sent = list(old.sender.sent)
    new = ScoringWorker(store, Relayed(engine), log=old.log)
    await new.claim(1)
    before = await everything(engine)
    with pytest.raises(Fenced) as fenced:
        await old.turn()
    assert fenced.value.lost == {(TOPIC, 1)}
    assert await everything(engine) == before
    assert old.sender.sent == sent

    del old.claims[TOPIC, 1]
    await old.turn()
    await new.turn()
    assert (await counts(engine))["event"] == len(HISTORY) + 4


async def test_a_sweep_of_a_stale_epoch_writes_nothing(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """Holds also for a batch without events."""
    old = ScoringWorker(store, Relayed(engine))
    old.log.append(0, activity.event("x", "ann", day(0)))
    old.clock.at = day(0)
    await old.drain()
    await store.take_over((TOPIC, 0))
    old.clock.at = day(30)
    before = await everything(engine)
    with pytest.raises(Fenced):
        await old.idle(10)
    assert await everything(engine) == before
    assert len(old.told) == 1


async def test_taken_over_in_the_middle_of_a_turn(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """The worker pauses after it has read and before it writes, and another one takes over.

    The other worker processes the batch. When the first resumes, it is refused; each event counts
    once.
    """
    halting = Halting(engine)
    old = ScoringWorker(halting, Relayed(engine))
    fill(old.log)
    await old.claim(0, 1)
    halting.halt_before = True
    turn = asyncio.create_task(old.turn())
    await halting.halted.wait()

    new = ScoringWorker(store, Relayed(engine), log=old.log)
    await new.drain()
    before = await everything(engine)
    halting.go.set()
    with pytest.raises(Fenced):
        await turn
    assert await everything(engine) == before
    found = {r["customer_id"]: r["state"] for r in before["customer_state"]}
    for customer in EXTRA:
        del found[customer]
    assert_stored(found, states(HISTORY))


async def test_a_turn_that_holds_its_rows_is_ended(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """The worker pauses between its fence and its COMMIT, holding the rows.

    The take-over ends its session, its transaction is rolled back whole, and the new owner does the
    work.
    """
    halting = Halting(engine)
    old = ScoringWorker(halting, Relayed(engine))
    fill(old.log)
    await old.claim(0, 1)
    halting.halt_after = True
    turn = asyncio.create_task(old.turn())
    await halting.halted.wait()
    new = ScoringWorker(store, Relayed(engine), log=old.log)
    await new.claim(0, 1)
    assert (await counts(engine))["event"] == 0
    halting.go.set()
    with pytest.raises(Transient):
        await turn
    await new.drain()
    assert (await counts(engine))["event"] == len(HISTORY) + 4
    assert old.sender.sent == []
