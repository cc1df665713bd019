"""SQL of a batch: reads known events, due customers and stored rows; writes everything at once.

Writes COPY into temporary staging tables, then fence, then merge in key order, so that a worker
that stops during the COPY holds no lock. Events and history rows are copied straight into their
tables: no other process writes them.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakSet

import asyncpg
import msgspec
import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.ports import AlreadyStored, BatchEffects, Due, EventRows, LoadedRows
from services.scoring.store import members
from services.scoring.store.batch_rows import (
    customers,
    event_rows,
    history,
    keys,
    loaded_of,
    made_by,
    timers,
)
from services.scoring.store.batch_statements import (
    ADD_CUSTOMERS,
    ADD_TIMERS,
    ADOPT,
    BEGIN,
    CHANGE_CUSTOMERS,
    CHANGE_TIMERS,
    DUE,
    DUE_SHARES,
    KNOWN,
    LOAD,
    MERGE_KEYS,
    MERGE_PROFILES,
    OTHER_HOME,
    STAGING,
)
from shared.contracts.events import Profile
from shared.kernel.arrays import Floats
from shared.kernel.errors import Transient
from shared.postgres.copy_columns import Numbers, Words, copy_columns
from shared.postgres.engine import Driver, UnitOfWork, unit_of_work
from shared.postgres.ledger import Ledger
from shared.postgres.outbox import Outbox, Pending
from shared.postgres.statements import row_count


class BatchStore:
    """Implements `ports.Store` on PostgreSQL."""

    def __init__(self, engine: AsyncEngine, ledger: Ledger, outbox: Outbox) -> None:
        self._engine = engine
        self._ledger = ledger
        self._outbox = outbox
        self._staged: WeakSet[Any] = WeakSet()
        self._to_adopt: list[tuple[str, int]] = []
        self._keys_staged: int | None = None
        self._customers = self._timers = _Staged(0, 0)
        self._history_staged = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitOfWork]:
        """Opens one transaction; staging tables exist in its session."""
        self._keys_staged, self._history_staged = None, False
        await self._adopt()
        async with unit_of_work(self._engine, BEGIN) as work:
            if work.driver not in self._staged:
                await work.driver.execute(STAGING)
            yield work
        self._staged.add(work.driver)  # only now is the creation committed

    async def _adopt(self) -> None:
        """Moves customers to this worker's partitions, in a separate transaction.

        It is committed whatever happens to the batch: otherwise two batches with different
        customers to adopt could undo each other for ever."""
        if self._to_adopt:
            async with unit_of_work(self._engine) as work:
                await work.driver.execute(ADOPT, *map(list, zip(*self._to_adopt, strict=True)))
            self._to_adopt = []

    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]:
        """Returns the stored content hash by index of the event, for events with a stored key."""
        if not len(events):
            return {}
        await self._stage_keys(work.driver, events)
        rows = await work.driver.fetch(KNOWN)
        known: dict[int, bytes] = {row["n"]: row["content_hash"] for row in rows}
        if known:
            await work.driver.execute("DELETE FROM s_key WHERE n = ANY($1::int[])", [*known])
        self._keys_staged = len(events) - len(known)
        return known

    async def add_history(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None:
        """Adds new events to the history; `write` does so where this was not called before."""
        if len(events):
            columns = event_rows(events, recorded_at)
            await copy_columns(work.driver, "event", *columns, schema="scoring")
        self._history_staged = True

    async def due(
        self,
        work: UnitOfWork,
        nows: dict[int, datetime],
        limit: int,
        *,
        avoid: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> Due:
        """Reads due customers, oldest timer first: at most `limit`, `DUE_SHARES` per partition."""
        if not nows:
            return Due.none()
        # A limit per partition, since customers found beyond the overall limit are read in vain.
        each = min(limit, DUE_SHARES * -(-limit // len(nows)))
        found = await DUE.fetch(
            work.driver, list(nows), list(nows.values()), limit, each, list(avoid), list(only)
        )
        homes = found.numbers["partition"]
        more = len(homes) == limit or bool((np.bincount(homes, minlength=1) == each).any())
        return Due(found.words["customer"], homes, found.numbers["at"], more)

    async def load(self, work: UnitOfWork, customers: Sequence[str], due_at: Floats) -> LoadedRows:
        """Reads the stored columns of these customers, in their order.

        Raises Transient where a state is of another feature set.
        """
        if not customers:
            return LoadedRows.nothing(0)
        asked = np.isnan(due_at)
        found = await LOAD.fetch(work.driver, customers, asked.tobytes())
        loaded = loaded_of(found.numbers, found.words)
        loaded.due_at = np.where(asked, loaded.due_at, due_at)
        return loaded

    async def redirects(
        self, work: UnitOfWork, ids: Collection[str], forwarded: Collection[str]
    ) -> dict[str, str]:
        """Returns the primary ids of those that are part of another customer."""
        return await members.redirects(work.driver, {*ids, *forwarded})

    async def own_states(self, work: UnitOfWork, ids: Collection[str]) -> dict[str, bytes]:
        """Reads the own states of ids of customers with several."""
        return await members.own_states(work.driver, ids)

    async def own_keys(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes | None]:
        """Returns, of customers with several ids, the content that each event's id sent itself."""
        return await members.own_keys(work.driver, events)

    def drop(self, customers: Iterable[str]) -> None:
        """Keeps nothing between transactions."""

    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]:
        """Stages, fences and merges; returns the messages to send after the commit.

        Raises Fenced when this worker no longer owns a partition, AlreadyStored when a key is, and
        Transient when a customer or timer was written by another worker meanwhile (read again).
        """
        if not self._history_staged:
            await self.add_history(work, effects.events, effects.recorded_at)
        await self._stage(work.driver, effects)
        await self._ledger.advance(work, effects.moves)
        try:
            await self._merge(work.driver, effects)
        except asyncpg.UniqueViolationError as error:
            raise AlreadyStored("an event of this batch is recorded already") from error
        return await self._outbox.add(work, effects.messages)

    async def _stage(self, driver: Driver, effects: BatchEffects) -> None:
        # `known` has staged the keys of the whole batch, and kept those that are new.
        if self._keys_staged != len(effects.events):
            if self._keys_staged:
                await driver.execute("TRUNCATE s_key")
            await self._stage_keys(driver, effects.events)
        self._customers = await _stage(driver, "s_customer", *customers(effects))
        self._timers = await _stage(driver, "s_timer", *timers(effects))
        if effects.assessments.published.any():
            await copy_columns(driver, "assessment_history", *history(effects), schema="scoring")

    async def _stage_keys(self, driver: Driver, events: EventRows) -> None:
        await copy_columns(driver, "s_key", *keys(events))

    async def _merge(self, driver: Driver, effects: BatchEffects) -> None:
        if len(effects.events):
            await driver.execute(MERGE_KEYS, effects.recorded_at.date())
            await members.note_origins(driver, effects.events)
            await self._merge_profiles(driver, effects.events)
        made = (FEATURE_SET, *made_by(effects))
        if await _merge(driver, self._customers, CHANGE_CUSTOMERS, ADD_CUSTOMERS, *made):
            self._to_adopt = [tuple(row) for row in await driver.fetch(OTHER_HOME)]
            if self._to_adopt:
                raise Transient(f"{len(self._to_adopt)} customers come from another partition")
            raise Transient("a customer of this batch was written meanwhile")
        if await _merge(driver, self._timers, CHANGE_TIMERS, ADD_TIMERS):
            raise Transient("a timer of this batch was written meanwhile")
        if effects.own_states:
            await members.write(driver, effects)

    async def _merge_profiles(self, driver: Driver, events: EventRows) -> None:
        at = [i for i, profile in enumerate(events.profile) if profile is not None]
        if at:
            await driver.execute(
                MERGE_PROFILES,
                [events.customer[i] for i in at],
                [events.time[i] for i in at],
                [f"{events.source[i]}\n{events.id[i]}" for i in at],
                [msgspec.json.encode(events.profile[i]) for i in at],
                [_owner(events.profile[i]) for i in at],
            )


class _Staged(NamedTuple):
    """Counts of a staging table's rows."""

    stored: int
    """Rows that change a stored row."""
    new: int
    """Rows that are added."""


async def _stage(driver: Driver, table: str, numbers: Numbers, words: Words) -> _Staged:
    """Copies rows into a staging table; its column `stored` marks those stored already."""
    stored = numbers["stored"]
    if len(stored):
        await copy_columns(driver, table, numbers, words)
    return _Staged(int(stored.sum()), int((~stored).sum()))


async def _merge(driver: Driver, staged: _Staged, change: str, add: str, *arguments: object) -> int:
    """Merges staged rows; returns how many could not be written.

    A row cannot be written where it is missing, exists already, or differs from what was read."""
    left = staged.stored + staged.new
    if staged.stored:
        left -= row_count(await driver.execute(change, *arguments))
    if staged.new:
        left -= row_count(await driver.execute(add, *arguments))
    return left


def _owner(profile: Profile | None) -> str | None:
    return None if profile is None or profile.owner is None else profile.owner.id
