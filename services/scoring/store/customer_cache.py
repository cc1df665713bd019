"""What a worker remembers of the customers of its partitions, so that it need not read them again.

Right by the fence: while we own a partition nobody else can commit for its customers. Hence
everything is forgotten when a partition is claimed (`forget`), and when a transaction did not end
well. Timers may be pulled from outside at any time: whoever is due with a timer that we did not
set is read anew. Whoever changes a customer's state or assessment outside a turn raises the epoch
of the partition (`Ledger.reset` does), so that its owner claims it anew.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.risk.timers import AFTER_BACKFILL
from services.scoring.core.value.compare import ClassificationRows
from services.scoring.handlers.apply_effects import loaded_after, standing_after
from services.scoring.ports import (
    BatchEffects,
    ClassificationStore,
    Due,
    EventRows,
    Floats,
    LoadedClassification,
    LoadedRows,
    Store,
)
from services.scoring.store.lru_slots import LruSlots
from shared.contracts.changes import CustomerChanged
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Pending

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


class CachingStore:
    """A `ports.Store` in front of another one; remembers at most `customers_max` customers that
    events touched, those least recently touched go first."""

    def __init__(self, inner: Store, customers_max: int) -> None:
        self._inner = inner
        self._slots = LruSlots(customers_max)
        # One row per slot.
        self._rows, self._standings = LoadedRows.nothing(0), LoadedClassification.nothing(0)
        self._stood = np.zeros(0, np.bool_)
        self._begin()

    def __len__(self) -> int:
        """Customers remembered."""
        return len(self._slots)

    def forget(self) -> None:
        """A partition was claimed: others may have written meanwhile. Of everybody: a customer who
        is remembered from another partition may have moved to this one while it was not ours."""
        self._slots.clear()
        self._begin()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitOfWork]:
        """One transaction; what it wrote is remembered once it is committed."""
        self._begin()
        try:
            async with self._inner.open() as work:
                yield work
        except BaseException:
            self.forget()
            raise
        if self._written is not None:
            self._remember(self._written)
        self._begin()

    def _begin(self) -> None:
        """Nothing was read or written yet in the transaction that is open."""
        self._customers: Sequence[str] = ()
        """Who was looked up last: who is due, then all of the turn."""
        self._then: Ints = np.zeros(0, np.int64)
        """Their slots."""
        self._loaded = LoadedRows.nothing(0)
        self._written: BatchEffects | None = None
        self._asked: Sequence[str] = ()
        self._standing = LoadedClassification.nothing(0)

    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]:
        """As the inner store; keys are never remembered."""
        return await self._inner.known(work, events)

    async def record(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None:
        """As the inner store."""
        await self._inner.record(work, events, recorded_at)

    async def due(
        self,
        work: UnitOfWork,
        nows: dict[int, datetime],
        limit: int,
        *,
        avoid: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> Due:
        """As the inner store; forgets those whose timer somebody else has set, and whom a backfill
        touched, whose timer cannot show it."""
        found = await self._inner.due(work, nows, limit, avoid=avoid, only=only)
        slots = self._slots.of(found.customers)
        known = np.flatnonzero(slots >= 0)
        at = found.at[known]
        strange = known[(self._rows.due_at[slots[known]] != at) | (at == AFTER_BACKFILL)]
        self._slots.drop(found.customers[n] for n in strange.tolist())
        slots[strange] = -1
        self._customers, self._then = found.customers, slots
        return found

    async def load(self, work: UnitOfWork, customers: Sequence[str], due_at: Floats) -> LoadedRows:
        """What is remembered, and for the others what is stored."""
        slots = self._slots_of(customers)
        unknown = np.flatnonzero(slots < 0)
        if len(unknown) == len(customers):
            found = await self._inner.load(work, customers, due_at)
        else:
            found = self._rows.take(slots)
            if len(unknown):
                names = [customers[row] for row in unknown.tolist()]
                found.put(unknown, await self._inner.load(work, names, due_at[unknown]))
        self._customers, self._then, self._loaded = customers, slots, found
        return found

    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]:
        """As the inner store."""
        pending = await self._inner.write(work, effects)
        self._written = effects
        return pending

    def _remember(self, effects: BatchEffects) -> None:
        if effects.customers != self._customers or len(self._loaded) < len(self._customers):
            # What was not read in this transaction is not known whole.
            self._slots.drop(effects.customers)
            return
        n = len(effects.states)
        slots, new = self._slots.touch(effects.customers[:n], self._then[:n])
        self._then[:n] = slots
        # Who is only due stays if there; a sweep over everybody would drive out all others.
        if n:
            self._then[n:] = self._slots.of(effects.customers[n:])
        self._grow()
        self._stood[slots[new]] = False
        kept = np.flatnonzero(self._then >= 0)
        self._rows.put(self._then[kept], loaded_after(self._loaded, effects, kept))
        self._remember_standings(effects)

    def _grow(self) -> None:
        if (room := self._slots.room) > len(self._rows):
            rows, standings = LoadedRows.nothing(room), LoadedClassification.nothing(room)
            before = np.arange(len(self._rows))
            rows.put(before, self._rows)
            standings.put(before, self._standings)
            self._rows, self._standings = rows, standings
            self._stood = np.concatenate((self._stood, np.zeros(room - len(before), np.bool_)))

    def _remember_standings(self, effects: BatchEffects) -> None:
        slots = self._slots_of(self._asked)
        kept = np.flatnonzero(slots >= 0)
        self._standings.put(slots[kept], self._standing.take(kept))
        self._stood[slots[kept]] = True
        told = [
            name
            for name, profile in zip(effects.events.customer, effects.events.profile, strict=True)
            if profile is not None
        ]
        if told:
            slots = self._slots.of(told)
            self._stood[slots[slots >= 0]] = False

    def _slots_of(self, customers: Sequence[str]) -> Ints:
        """Mostly they are all of the turn's, or all who are due, whose slots are known already."""
        return self._then if customers is self._customers else self._slots.of(customers)

    async def load_standings(
        self, inner: ClassificationStore, work: UnitOfWork, customers: Sequence[str]
    ) -> LoadedClassification:
        """What is remembered, and for the others what `inner` has."""
        slots = self._slots_of(customers)
        known = slots >= 0
        known[known] = self._stood[slots[known]]
        unknown = np.flatnonzero(~known)
        if len(unknown) == len(customers):
            found = await inner.load(work, customers)
        else:
            found = self._standings.take(slots)
            if len(unknown):
                names = [customers[row] for row in unknown.tolist()]
                found.put(unknown, await inner.load(work, names))
        self._asked, self._standing = customers, found
        return found

    def stood(self, rows: ClassificationRows) -> None:
        """These are written in this transaction, of those who were asked for."""
        row_of = {name: row for row, name in enumerate(self._asked)}
        at = np.array([row_of[name] for name in rows.customer.tolist()], np.int64)
        before = self._standing.take(at)
        # The handler has the old rows; what changes is a copy.
        changed = self._standing.take(np.arange(len(self._asked)))
        changed.put(at, standing_after(rows, before))
        self._standing = changed


class CachingStandings:
    """A `ports.StandingStore` in front of another one: a standing is remembered as long as its
    customer is. A grade set by hand pulls the customer's timer, and so is read anew."""

    def __init__(self, inner: ClassificationStore, cache: CachingStore) -> None:
        self._inner = inner
        self._cache = cache

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> LoadedClassification:
        """In the order of `customers`."""
        return await self._cache.load_standings(self._inner, work, customers)

    async def write(
        self, work: UnitOfWork, rows: ClassificationRows, changes: Sequence[CustomerChanged]
    ) -> None:
        """As the inner store."""
        await self._inner.write(work, rows, changes)
        self._cache.stood(rows)
