"""SQL of a batch: reads known events, due customers and stored rows; writes everything at once.

Writes COPY into temporary staging tables, then fence, then merge in key order, so that a worker
that stops during the COPY holds no lock.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakSet

import asyncpg
import msgspec
import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.ports import BatchEffects, Due, EventRows, LoadedRows, Recorded
from services.scoring.store.batch_rows import (
    customers,
    event_rows,
    history,
    keys,
    loaded_of,
    made_by,
    timers,
)
from services.scoring.store.classification import STAGING as CLASSIFICATION_STAGING
from shared.contracts.events import Profile
from shared.kernel.arrays import Floats
from shared.kernel.errors import Transient
from shared.postgres.copy_columns import Numbers, Words, copy_columns
from shared.postgres.engine import Driver, UnitOfWork, unit_of_work
from shared.postgres.fetch_columns import Gathering
from shared.postgres.ledger import Ledger
from shared.postgres.outbox import Outbox, Pending

# Times are staged as Unix seconds, exact to the microsecond: writing a datetime object costs Python
# more than all other columns of its row, `to_timestamp` costs next to nothing.
_STAGING = f"""
{CLASSIFICATION_STAGING}
CREATE TEMP TABLE IF NOT EXISTS s_key (n int, customer_id text, source text, id text,
    content_hash bytea) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS s_customer (customer_id text, partition int, state bytea,
    stored bool, assessed bool, revision bigint, assessed_at float8, probability float8,
    band smallint, look_at float8, published_signs smallint, value_at_risk float8, horizons bytea,
    told bool) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS s_timer (customer_id text, partition int, due_at float8,
    before float8, stored bool) ON COMMIT DELETE ROWS;
"""

# A batch touches few rows of large tables, always by key. Where a table was empty at its last
# ANALYZE, the planner would choose, and keep, a full scan of the keys for each event.
_BEGIN = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)
"""

_KNOWN = """
SELECT k.n, e.content_hash
  FROM s_key k,
       LATERAL (SELECT content_hash FROM scoring.event_key e
                 WHERE e.customer_id = k.customer_id AND e.source = k.source AND e.id = k.id
                 LIMIT 1) e
"""

DUE_SHARES = 2
"""Equal shares of a sweep that one partition may fill at most, so that few are found in vain; a
partition that alone has many silent customers takes more batches, which follow at once."""

_DUE = Gathering(
    {"partition": ("int4", "d.partition"), "at": ("float8", "date_part('epoch', d.due_at)")},
    {"customer": "d.customer_id"},
    """
  FROM (SELECT t.customer_id, p.partition, t.due_at
          FROM unnest($1::int[], $2::timestamptz[]) AS p(partition, now),
               LATERAL (SELECT customer_id, due_at FROM scoring.timer
                         WHERE partition = p.partition AND due_at <= p.now
                           AND customer_id <> ALL($5::text[])
                           AND (cardinality($6::text[]) = 0 OR customer_id = ANY($6::text[]))
                         ORDER BY due_at LIMIT $4) t
         ORDER BY t.due_at, t.customer_id LIMIT $3) d
""",
)

# In the order of the requested customers, as they are numbered. One byte per customer defines
# whether the timer is read.
_LOAD = Gathering(
    {
        "feature_set": ("int2", "coalesce(s.feature_set, -1::smallint)"),
        "revision": ("int8", "coalesce(s.revision, 0)"),
        "probability": (
            "float8",
            f"CASE WHEN s.assessed_feature_set = {FEATURE_SET} THEN s.probability END",
        ),
        "band": ("int2", "coalesce(s.band, -1::smallint)"),
        "published_at": ("float8", "date_part('epoch', s.published_at)"),
        "published_probability": ("float8", "s.published_probability"),
        "published_band": ("int2", "coalesce(s.published_band, -1::smallint)"),
        "published_signs": ("int2", "coalesce(s.published_signs, 0::smallint)"),
        "due_at": ("float8", "date_part('epoch', t.due_at)"),
        "look_at": ("float8", "date_part('epoch', s.look_at)"),
    },
    {name: f"s.{name}" for name in ("state", "model_version")},
    """
  FROM unnest($1::text[]) WITH ORDINALITY AS c(customer_id, n)
  LEFT JOIN LATERAL (SELECT state, feature_set, revision, assessed_feature_set, probability, band,
                            model_version, published_at, published_probability, published_band,
                            published_signs, look_at
                       FROM scoring.customer_state s
                      WHERE s.customer_id = c.customer_id LIMIT 1) s ON true
  LEFT JOIN LATERAL (SELECT due_at FROM scoring.timer t
                      WHERE t.customer_id = c.customer_id AND get_byte($2, c.n::int - 1) > 0
                      LIMIT 1) t ON true
""",
    place="c.n",
)

# Columns that an assessment writes, and those that a published one writes in addition: each with
# its value from a staged row `n`, and the condition under which there is one.
_ASSESSED = {
    **{name: f"n.{name}" for name in ("revision", "probability", "band", "horizons")},
    **{name: f"to_timestamp(n.{name})" for name in ("assessed_at", "look_at")},
    "method": "$2::text",
    "model_version": "$3::text",
    "assessed_feature_set": "$4::smallint",
    "horizon_days": "$5::smallint",
    "published_signs": "n.published_signs",
}
_PUBLISHED = {
    "published_at": "to_timestamp(n.assessed_at)",
    **{f"published_{name}": f"n.{name}" for name in ("probability", "band", "value_at_risk")},
}
_WRITTEN = {
    **{name: ("n.assessed", value) for name, value in _ASSESSED.items()},
    **{name: ("n.told", value) for name, value in _PUBLISHED.items()},
}

_MERGE_KEYS = """
INSERT INTO scoring.event_key (customer_id, source, id, content_hash, recorded_on)
SELECT customer_id, source, id, content_hash, $1 FROM s_key ORDER BY customer_id, source, id
"""

# One row and one write for both: a state without an assessment (an import, or before a tick), an
# assessment without a new state (a silent customer), or the two together. Stored rows are updated,
# not inserted with ON CONFLICT, which would lock each row before it changes it.
_CHANGES = ", ".join(
    f"{name} = CASE WHEN {given} THEN {value} ELSE s.{name} END"
    for name, (given, value) in _WRITTEN.items()
)
_CHANGE_CUSTOMERS = f"""
UPDATE scoring.customer_state s
   SET feature_set = $1, state = coalesce(n.state, s.state), {_CHANGES}
  FROM (SELECT * FROM s_customer WHERE stored ORDER BY customer_id) n
 WHERE s.customer_id = n.customer_id AND s.partition = n.partition
   AND (NOT n.assessed OR n.revision = coalesce(s.revision, 0) + 1)
"""  # noqa: S608 (names of our own columns)

_ADD_CUSTOMERS = f"""
INSERT INTO scoring.customer_state (customer_id, partition, feature_set, state,
       {", ".join(_WRITTEN)})
SELECT customer_id, partition, $1, state,
       {", ".join(f"CASE WHEN {given} THEN {value} END" for given, value in _WRITTEN.values())}
  FROM s_customer n WHERE NOT stored ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""  # noqa: S608 (names of our own columns)

# A customer's home is the partition that owns the state: only its claim may write it. After
# partitions were added, two of them can contain events of one customer, and two workers would read
# the same state and overwrite each other's. The home changes only here, under the row's lock and
# before the state is read; a write from another partition changes no row, which is detected.
_MOVED = """
SELECT n.customer_id, n.partition
  FROM s_customer n JOIN scoring.customer_state s USING (customer_id)
 WHERE s.partition <> n.partition ORDER BY 1
"""

_ADOPT = """
WITH home AS (
  SELECT s.customer_id, h.partition
    FROM unnest($1::text[], $2::int[]) AS h(customer_id, partition)
    JOIN scoring.customer_state s USING (customer_id) ORDER BY 1 FOR UPDATE OF s
), moved AS (
  UPDATE scoring.customer_state s SET partition = h.partition
    FROM home h WHERE s.customer_id = h.customer_id
)
UPDATE scoring.timer t SET partition = h.partition FROM home h WHERE t.customer_id = h.customer_id
"""

_CHANGE_TIMERS = """
UPDATE scoring.timer t SET partition = n.partition, due_at = to_timestamp(n.due_at)
  FROM (SELECT * FROM s_timer WHERE stored ORDER BY customer_id) n
 WHERE t.customer_id = n.customer_id AND t.due_at = to_timestamp(n.before)
"""

_ADD_TIMERS = """
INSERT INTO scoring.timer (customer_id, partition, due_at)
SELECT customer_id, partition, to_timestamp(due_at) FROM s_timer WHERE NOT stored
 ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""

_MERGE_PROFILES = """
INSERT INTO scoring.profile AS p (customer_id, changed_at, event_id, profile, owner_id)
SELECT DISTINCT ON (c) c, t, i, d, o
  FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bytea[], $5::text[])
       AS u(c, t, i, d, o)
 ORDER BY c, t DESC, i DESC
ON CONFLICT (customer_id) DO UPDATE
   SET changed_at = excluded.changed_at, event_id = excluded.event_id, profile = excluded.profile,
       owner_id = excluded.owner_id
 WHERE (p.changed_at, p.event_id) < (excluded.changed_at, excluded.event_id)
"""


class BatchStore:
    """Implements `ports.Store` on PostgreSQL."""

    def __init__(self, engine: AsyncEngine, ledger: Ledger, outbox: Outbox) -> None:
        self._engine = engine
        self._ledger = ledger
        self._outbox = outbox
        self._staged: WeakSet[Any] = WeakSet()
        self._moved: list[tuple[str, int]] = []
        self._keys_staged: int | None = None
        self._customers = self._timers = _Staged(0, 0)
        self._history_staged = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitOfWork]:
        """Opens one transaction; staging tables exist in its session."""
        self._keys_staged, self._history_staged = None, False
        await self._adopt()
        async with unit_of_work(self._engine, _BEGIN) as work:
            if work.driver not in self._staged:
                await work.driver.execute(_STAGING)
            yield work
        self._staged.add(work.driver)  # only now is the creation committed

    async def _adopt(self) -> None:
        """Moves customers to this worker's partitions, in a separate transaction.

        It is committed whatever happens to the batch: otherwise two batches with different
        customers to adopt could undo each other for ever."""
        if self._moved:
            async with unit_of_work(self._engine) as work:
                await work.driver.execute(_ADOPT, *map(list, zip(*self._moved, strict=True)))
            self._moved = []

    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]:
        """Returns the stored content hash by index of the event, for events with a stored key."""
        if not len(events):
            return {}
        await self._stage_keys(work.driver, events)
        rows = await work.driver.fetch(_KNOWN)
        known: dict[int, bytes] = {row["n"]: row["content_hash"] for row in rows}
        if known:
            await work.driver.execute("DELETE FROM s_key WHERE n = ANY($1::int[])", [*known])
        self._keys_staged = len(events) - len(known)
        return known

    async def record(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None:
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
        found = await _DUE.fetch(
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
        found = await _LOAD.fetch(work.driver, customers, asked.tobytes())
        loaded = loaded_of(found.numbers, found.words)
        loaded.due_at = np.where(asked, loaded.due_at, due_at)
        return loaded

    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]:
        """Stages, fences and merges; returns the messages to send after the commit.

        Raises Fenced when this worker no longer owns a partition, Recorded when a key is stored,
        and Transient when a customer or timer was written by another worker meanwhile (read again).
        """
        if not self._history_staged:
            await self.record(work, effects.events, effects.recorded_at)
        await self._stage(work.driver, effects)
        await self._ledger.advance(work, effects.moves)
        try:
            await self._merge(work.driver, effects)
        except asyncpg.UniqueViolationError as error:
            raise Recorded("an event of this batch is recorded already") from error
        return await self._outbox.add(work, effects.messages)

    async def _stage(self, driver: Driver, effects: BatchEffects) -> None:
        # `known` has staged the keys of the whole batch, and kept those that are new.
        if self._keys_staged != len(effects.events):
            if self._keys_staged:
                await driver.execute("TRUNCATE s_key")
            await self._stage_keys(driver, effects.events)
        self._customers = await _stage(driver, "s_customer", *customers(effects))
        self._timers = await _stage(driver, "s_timer", *timers(effects))
        # Like events, history rows wait for no lock: no other process writes the same rows.
        if effects.assessments.published.any():
            await copy_columns(driver, "assessment_history", *history(effects), schema="scoring")

    async def _stage_keys(self, driver: Driver, events: EventRows) -> None:
        await copy_columns(driver, "s_key", *keys(events))

    async def _merge(self, driver: Driver, effects: BatchEffects) -> None:
        if len(effects.events):
            await driver.execute(_MERGE_KEYS, effects.recorded_at.date())
            await self._merge_profiles(driver, effects.events)
        made = (FEATURE_SET, *made_by(effects))
        if await _merge(driver, self._customers, _CHANGE_CUSTOMERS, _ADD_CUSTOMERS, *made):
            self._moved = [tuple(row) for row in await driver.fetch(_MOVED)]
            if self._moved:
                raise Transient(f"{len(self._moved)} customers come from another partition")
            raise Transient("a customer of this batch was written meanwhile")
        if await _merge(driver, self._timers, _CHANGE_TIMERS, _ADD_TIMERS):
            raise Transient("a timer of this batch was written meanwhile")

    async def _merge_profiles(self, driver: Driver, events: EventRows) -> None:
        at = [i for i, profile in enumerate(events.profile) if profile is not None]
        if at:
            await driver.execute(
                _MERGE_PROFILES,
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
        left -= _rows(await driver.execute(change, *arguments))
    if staged.new:
        left -= _rows(await driver.execute(add, *arguments))
    return left


def _rows(status: str) -> int:
    """Returns the number of rows that a statement wrote, from its command tag (`INSERT 0 5`)."""
    return int(status.rpartition(" ")[2])


def _owner(profile: Profile | None) -> str | None:
    return None if profile is None or profile.owner is None else profile.owner.id
