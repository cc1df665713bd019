"""Caches the stored columns of customers of a worker's partitions, so that they are not read again.

The fence makes this correct: while this worker owns a partition, no other process can commit for
its customers. Hence the cache is cleared when a partition is claimed (`forget`) and after a failed
transaction. Other processes may change timers at any time: due customers with a timer that this
worker did not set are read anew. A process that changes a customer's state or assessment outside a
batch must raise the epoch of the partition (`Ledger.reset` does), so that the owner claims it anew.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import numpy as np

from services.scoring.core.risk.timers import AFTER_BACKFILL
from services.scoring.core.value.compare import ClassificationRows
from services.scoring.ports import (
    BatchEffects,
    ClassificationStore,
    Due,
    EventRows,
    LoadedClassification,
    LoadedRows,
    Store,
)
from services.scoring.store.apply_effects import classification_after, loaded_after
from services.scoring.store.lru_slots import LruSlots
from shared.contracts.changes import CustomerChanged
from shared.kernel.arrays import Floats, Ints
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Pending


class CachingStore:
    """Cache in front of a `ports.Store`: at most `customers_max` customers touched by events.

    The least recently touched customers are evicted first."""

    def __init__(self, inner: Store, customers_max: int) -> None:
        self._inner = inner
        self._slots = LruSlots(customers_max)
        # One row per slot.
        self._rows, self._classifications = LoadedRows.nothing(0), LoadedClassification.nothing(0)
        self._classified = np.zeros(0, np.bool_)
        self._begin()

    def __len__(self) -> int:
        """Number of cached customers."""
        return len(self._slots)

    def forget(self) -> None:
        """Clears the cache after a claim: another process may have written meanwhile.

        Clears all partitions: a customer cached from another one may have moved to the claimed
        partition while this worker did not own it."""
        self._slots.clear()
        self._begin()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitOfWork]:
        """Opens one transaction; its writes are cached after the commit."""
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
        """Resets the record of what the open transaction has read and written."""
        self._customers: Sequence[str] = ()
        """Customers looked up last: first the due ones, then all of the batch."""
        self._customer_slots: Ints = np.zeros(0, np.int64)
        """Slots of these customers."""
        self._loaded = LoadedRows.nothing(0)
        self._written: BatchEffects | None = None
        self._classified_customers: Sequence[str] = ()
        self._loaded_classifications = LoadedClassification.nothing(0)

    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]:
        """Passes on to the inner store; keys are never cached."""
        return await self._inner.known(work, events)

    async def redirects(
        self, work: UnitOfWork, ids: Collection[str], forwarded: Collection[str]
    ) -> dict[str, str]:
        """Returns the primary ids of those that are part of another customer.

        Looks up `forwarded`, which came from another partition, and what is not cached. A cached id
        that became part of another has no home: the write of this batch is refused, and the cache
        emptied."""
        names = list(ids)
        slots = self._slots.of(names)
        unknown = [names[n] for n in np.flatnonzero(slots < 0).tolist()]
        if not unknown and not forwarded:
            return {}
        return await self._inner.redirects(work, unknown, forwarded)

    async def own_keys(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes | None]:
        """Passes on to the inner store."""
        return await self._inner.own_keys(work, events)

    async def own_states(self, work: UnitOfWork, ids: Collection[str]) -> dict[str, bytes]:
        """Passes on to the inner store."""
        return await self._inner.own_states(work, ids)

    def drop(self, customers: Iterable[str]) -> None:
        """Removes customers with stored rows that something else than `write` has changed."""
        self._slots.drop(customers)
        self._customers, self._customer_slots = (), np.zeros(0, np.int64)

    async def add_history(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None:
        """Passes on to the inner store."""
        await self._inner.add_history(work, events, recorded_at)

    async def due(
        self,
        work: UnitOfWork,
        nows: dict[int, datetime],
        limit: int,
        *,
        avoid: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> Due:
        """Reads due customers from the inner store; drops those changed by others from the cache.

        These have a timer that this worker did not set, or were touched by a backfill, which the
        timer cannot show."""
        found = await self._inner.due(work, nows, limit, avoid=avoid, only=only)
        slots = self._slots.of(found.customers)
        known = np.flatnonzero(slots >= 0)
        at = found.at[known]
        changed = known[(self._rows.due_at[slots[known]] != at) | (at == AFTER_BACKFILL)]
        self._slots.drop(found.customers[n] for n in changed.tolist())
        slots[changed] = -1
        self._customers, self._customer_slots = found.customers, slots
        return found

    async def load(self, work: UnitOfWork, customers: Sequence[str], due_at: Floats) -> LoadedRows:
        """Returns cached columns, and reads the other customers from the inner store."""
        slots = self._slots_of(customers)
        unknown = np.flatnonzero(slots < 0)
        if len(unknown) == len(customers):
            found = await self._inner.load(work, customers, due_at)
        else:
            found = self._rows.take(slots)
            if len(unknown):
                names = [customers[row] for row in unknown.tolist()]
                found.put(unknown, await self._inner.load(work, names, due_at[unknown]))
        self._customers, self._customer_slots, self._loaded = customers, slots, found
        return found

    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]:
        """Writes to the inner store; the effects are cached after the commit."""
        pending = await self._inner.write(work, effects)
        self._written = effects
        return pending

    def _remember(self, effects: BatchEffects) -> None:
        if effects.customers != self._customers or len(self._loaded) < len(self._customers):
            # Customers that this transaction did not read are not completely known.
            self._slots.drop(effects.customers)
            return
        n = len(effects.states)
        slots, new = self._slots.touch(effects.customers[:n], self._customer_slots[:n])
        self._customer_slots[:n] = slots
        # Customers that are only due get no slot: a sweep would evict all others.
        if n:
            self._customer_slots[n:] = self._slots.of(effects.customers[n:])
        self._grow()
        self._classified[slots[new]] = False
        kept = np.flatnonzero(self._customer_slots >= 0)
        self._rows.put(self._customer_slots[kept], loaded_after(self._loaded, effects, kept))
        self._remember_classifications(effects)

    def _grow(self) -> None:
        if (room := self._slots.room) > len(self._rows):
            rows, classifications = LoadedRows.nothing(room), LoadedClassification.nothing(room)
            before = np.arange(len(self._rows))
            rows.put(before, self._rows)
            classifications.put(before, self._classifications)
            self._rows, self._classifications = rows, classifications
            self._classified = np.concatenate(
                (self._classified, np.zeros(room - len(before), np.bool_))
            )

    def _remember_classifications(self, effects: BatchEffects) -> None:
        slots = self._slots_of(self._classified_customers)
        kept = np.flatnonzero(slots >= 0)
        self._classifications.put(slots[kept], self._loaded_classifications.take(kept))
        self._classified[slots[kept]] = True
        with_profile = [
            name
            for name, profile in zip(effects.events.customer, effects.events.profile, strict=True)
            if profile is not None
        ]
        if with_profile:
            slots = self._slots.of(with_profile)
            self._classified[slots[slots >= 0]] = False

    def _slots_of(self, customers: Sequence[str]) -> Ints:
        """Returns the customers' slots; usually they were looked up last and need no search."""
        return self._customer_slots if customers is self._customers else self._slots.of(customers)

    async def load_classifications(
        self, inner: ClassificationStore, work: UnitOfWork, customers: Sequence[str]
    ) -> LoadedClassification:
        """Returns cached classifications, and reads the other customers from `inner`."""
        slots = self._slots_of(customers)
        known = slots >= 0
        known[known] = self._classified[slots[known]]
        unknown = np.flatnonzero(~known)
        if len(unknown) == len(customers):
            found = await inner.load(work, customers)
        else:
            found = self._classifications.take(slots)
            if len(unknown):
                names = [customers[row] for row in unknown.tolist()]
                found.put(unknown, await inner.load(work, names))
        self._classified_customers, self._loaded_classifications = customers, found
        return found

    def note_classified(self, rows: ClassificationRows) -> None:
        """Notes rows that this transaction writes, for customers that it has loaded."""
        row_of = {name: row for row, name in enumerate(self._classified_customers)}
        at = np.array([row_of[name] for name in rows.customer.tolist()], np.int64)
        before = self._loaded_classifications.take(at)
        # The handler still uses the old rows, so the change goes to a copy.
        changed = self._loaded_classifications.take(np.arange(len(self._classified_customers)))
        changed.put(at, classification_after(rows, before))
        self._loaded_classifications = changed


class CachingClassifications:
    """Cache in front of a `ports.ClassificationStore`; entries live as long as the customer's.

    A grade set by hand changes the customer's timer, and is therefore read anew."""

    def __init__(self, inner: ClassificationStore, cache: CachingStore) -> None:
        self._inner = inner
        self._cache = cache

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> LoadedClassification:
        """Returns the classifications in the order of `customers`."""
        return await self._cache.load_classifications(self._inner, work, customers)

    async def write(
        self, work: UnitOfWork, rows: ClassificationRows, changes: Sequence[CustomerChanged]
    ) -> None:
        """Writes to the inner store; the rows are cached after the commit."""
        await self._inner.write(work, rows, changes)
        self._cache.note_classified(rows)
