"""What a worker remembers of the customers of its partitions, so that it need not read them again.

Right by the fence: while we own a partition nobody else can commit for its customers. Hence
everything is forgotten when a partition is claimed (`forget`), and when a transaction did not end
well. Timers may be pulled forward from outside at any time (what is due is read anew). Whoever
changes a customer's state or assessment outside a turn raises the epoch of the partition
(`Ledger.reset` does), so that its owner claims it anew.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from services.scoring.core.state import FEATURE_SET
from services.scoring.core.value.changes import StandingRow
from services.scoring.ports import (
    Effects,
    EventRows,
    Loaded,
    LoadedStanding,
    StandingStore,
    Store,
)
from shared.contracts.changes import CustomerChanged
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Pending

_COLUMNS: Final = len(Loaded.__slots__)
_STATE, _FEATURE_SET, _REVISION, _BAND, _TOLD, _REASON, _DUE_AT, _LOOK_AT = (
    Loaded.__slots__.index(name)
    for name in (
        "state", "feature_set", "revision", "band", "published_at", "published_reason", "due_at",
        "look_at",
    )
)  # fmt: skip
_TOLD_END: Final = Loaded.__slots__.index("published_band") + 1
_STOOD: Final = tuple(
    name for name in LoadedStanding.__slots__ if name not in ("override", "profile")
)
Row = tuple[Any, ...]
"""One customer's value of each column of `Loaded`, then the partition."""


class CachingStore:
    """A `ports.Store` in front of another one; remembers at most `customers_max` customers that
    events touched, those least recently touched go first."""

    def __init__(self, inner: Store, customers_max: int) -> None:
        self._inner = inner
        self._customers_max = customers_max
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._loaded: dict[str, Row] = {}
        self._written: Effects | None = None
        self._standings: dict[str, LoadedStanding] = {}
        self._stood: dict[str, LoadedStanding] = {}

    def __len__(self) -> int:
        """Customers remembered."""
        return len(self._rows)

    def forget(self) -> None:
        """A partition was claimed: others may have written meanwhile. Of everybody: a customer who
        is remembered from another partition may have moved to this one while it was not ours."""
        self._rows.clear()
        self._standings.clear()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitOfWork]:
        """One transaction; what it wrote is remembered once it is committed."""
        self._loaded, self._written, self._stood = {}, None, {}
        try:
            async with self._inner.open() as work:
                yield work
        except BaseException:
            self.forget()
            raise
        if self._written is not None:
            self._remember(self._written)
        self._loaded, self._stood = {}, {}

    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]:
        """As the inner store; keys are never remembered."""
        return await self._inner.known(work, events)

    async def record(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None:
        """As the inner store."""
        await self._inner.record(work, events, recorded_at)

    async def due(
        self, work: UnitOfWork, nows: dict[int, datetime], limit: int
    ) -> list[tuple[str, int]]:
        """As the inner store; the due are read anew, since anybody may have pulled their timers."""
        found = await self._inner.due(work, nows, limit)
        for name, _ in found:
            self._drop(name)
        return found

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> Loaded:
        """What is remembered, and for the others what is stored."""
        unknown = [name for name in customers if name not in self._rows]
        if unknown:
            found = await self._inner.load(work, unknown)
            columns = [getattr(found, name) for name in Loaded.__slots__]
            self._loaded = dict(zip(unknown, zip(*columns, strict=True), strict=True))
            if len(unknown) == len(customers):
                return found
        rows = [self._rows.get(name) or self._loaded[name] for name in customers]
        columns = [list(column) for column in zip(*(row[:_COLUMNS] for row in rows), strict=True)]
        return Loaded(*(columns or ([] for _ in range(_COLUMNS))))

    async def write(self, work: UnitOfWork, effects: Effects) -> list[Pending]:
        """As the inner store."""
        pending = await self._inner.write(work, effects)
        self._written = effects
        return pending

    def _remember(self, effects: Effects) -> None:
        due_at = {name: at for name, _, at in effects.timers}
        assessed = {a.customer: a for a in effects.assessments}
        for name, partition, state in effects.states:
            row = self._rows.pop(name, None) or self._loaded.get(name)
            if row is None:
                continue
            changed = [*row[:_COLUMNS], partition]
            changed[_STATE], changed[_FEATURE_SET] = state, FEATURE_SET
            changed[_DUE_AT] = due_at.get(name, row[_DUE_AT])
            if (a := assessed.get(name)) is not None:
                changed[_REVISION], changed[_BAND], changed[_LOOK_AT] = (
                    a.revision,
                    a.band,
                    a.look_at,
                )
                changed[_REASON] = a.published_reason
                if a.message is not None:
                    changed[_TOLD:_TOLD_END] = a.assessed_at, a.probability, a.band
            # A tuple, which the garbage collector soon leaves alone: there may be a million.
            self._rows[name] = tuple(changed)
        self._remember_standings(effects)
        while len(self._rows) > self._customers_max:
            self._standings.pop(self._rows.popitem(last=False)[0], None)

    def _remember_standings(self, effects: Effects) -> None:
        self._standings |= {n: one for n, one in self._stood.items() if n in self._rows}
        for name, profile in zip(effects.events.customer, effects.events.profile, strict=True):
            if profile is not None:
                self._standings.pop(name, None)

    def _drop(self, name: str) -> None:
        self._rows.pop(name, None)
        self._standings.pop(name, None)

    async def load_standings(
        self, inner: StandingStore, work: UnitOfWork, customers: Sequence[str]
    ) -> list[LoadedStanding]:
        """What is remembered, and for the others what `inner` has."""
        unknown = [name for name in customers if name not in self._standings]
        found = await inner.load(work, unknown) if unknown else []
        self._stood.update(zip(unknown, found, strict=True))
        return [self._standings.get(name) or self._stood[name] for name in customers]

    def stood(self, rows: Sequence[StandingRow]) -> None:
        """These are written in this transaction."""
        for row in rows:
            before = self._standings.get(row.customer) or self._stood.get(row.customer)
            if before is not None:
                changed = {name: getattr(row, name) for name in _STOOD}
                self._stood[row.customer] = replace(before, **changed)


class CachingStandings:
    """A `ports.StandingStore` in front of another one: a standing is remembered as long as its
    customer is. A grade set by hand pulls the customer's timer, and so is read anew."""

    def __init__(self, inner: StandingStore, cache: CachingStore) -> None:
        self._inner = inner
        self._cache = cache

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> list[LoadedStanding]:
        """In the order of `customers`."""
        return await self._cache.load_standings(self._inner, work, customers)

    async def write(
        self, work: UnitOfWork, rows: Sequence[StandingRow], changes: Sequence[CustomerChanged]
    ) -> None:
        """As the inner store."""
        await self._inner.write(work, rows, changes)
        self._cache.stood(rows)
