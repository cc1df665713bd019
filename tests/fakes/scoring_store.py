"""Scoring's tables in memory: passes the same suite as the real ones (tests/contract)."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np

from services.scoring.core.features.columns import codes, objects
from services.scoring.core.features.state import FEATURE_SET, to_bytes
from services.scoring.core.features.times import seconds_of
from services.scoring.core.risk.bands import NO_BAND
from services.scoring.core.value.compare import ClassificationRows
from services.scoring.core.value.grades import GRADES, TIERS
from services.scoring.core.value.lifecycle import BEHAVIOURS, LIFECYCLES
from services.scoring.ports import (
    AlreadyStored,
    BatchEffects,
    ClassificationStore,
    Due,
    EventRows,
    LoadedClassification,
    LoadedRows,
)
from services.scoring.store import batch_rows as rows
from services.scoring.store.customer_cache import CachingClassifications, CachingStore
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.kernel.arrays import Floats
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Claim, Fenced, Move
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.outbox import Message, Pending
from tests.fakes.scoring_rows import AssessmentRow, assessed
from tests.fakes.scoring_worker import Claiming

Key = tuple[str, str, str]
WORDS = {"grade": GRADES, "tier": TIERS, "behaviour": BEHAVIOURS, "lifecycle": LIFECYCLES}


@dataclass(slots=True)
class Tables:
    """What is stored; values are never changed in place."""

    partition: dict[Tp, Claim] = field(default_factory=dict)
    key: dict[Key, bytes] = field(default_factory=dict)
    event: list[tuple[str, str]] = field(default_factory=list)
    """(customer, event id)."""
    state: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    timer: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    assessment: dict[str, AssessmentRow] = field(default_factory=dict)
    published: dict[str, AssessmentRow] = field(default_factory=dict)
    history: list[AssessmentRow] = field(default_factory=list)
    outbox: dict[int, Message] = field(default_factory=dict)
    outbox_ids: int = 0
    standing: dict[str, SimpleNamespace] = field(default_factory=dict)
    standing_change: list[CustomerChanged] = field(default_factory=list)
    profile: dict[str, tuple[datetime, str, bytes]] = field(default_factory=dict)
    override: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    absence: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    """The model version of each current assessment."""

    def copy(self) -> "Tables":
        """Copy the tables for a transaction to change."""
        return Tables(
            dict(self.partition),
            dict(self.key),
            list(self.event),
            dict(self.state),
            dict(self.timer),
            dict(self.assessment),
            dict(self.published),
            list(self.history),
            dict(self.outbox),
            self.outbox_ids,
            dict(self.standing),
            list(self.standing_change),
            dict(self.profile),
            dict(self.override),
            dict(self.absence),
            dict(self.made_by),
        )


class MemoryStore:
    """Implements `ports.Store`; `open` yields a copy that replaces `tables` at its end."""

    def __init__(self) -> None:
        self.tables = Tables()
        self._to_adopt: list[tuple[str, int]] = []
        self._recorded = False
        self.standings = MemoryStandings()

    async def take_over(self, tp: Tp) -> Claim:
        """Claim a partition, as the ledger does."""
        before = self.tables.partition.get(tp) or Claim(tp[0], tp[1], 0, None, None)
        self.tables.partition[tp] = claim = replace(before, epoch=before.epoch + 1)
        return claim

    @asynccontextmanager
    async def open(self) -> AsyncIterator[UnitOfWork]:
        """Open a transaction."""
        self._recorded = False
        adopted = self.tables.copy()
        for customer, home in self._to_adopt:
            adopted.state[customer] = home, adopted.state[customer][1]
            if customer in adopted.timer:
                adopted.timer[customer] = home, adopted.timer[customer][1]
        self.tables, self._to_adopt = adopted, []
        changed = self.tables.copy()
        yield cast("UnitOfWork", changed)
        self.tables = changed

    async def known(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes]:
        """Map the index of each event with a stored key to the stored content hash."""
        keys = zip(events.customer, events.source, events.id, strict=True)
        stored = _tables(work).key
        return {i: stored[key] for i, key in enumerate(keys) if key in stored}

    async def due(
        self,
        work: UnitOfWork,
        nows: dict[int, datetime],
        limit: int,
        *,
        avoid: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> Due:
        """Return due customers, the oldest due first."""
        due = sorted(
            (at, customer, partition)
            for customer, (partition, at) in _tables(work).timer.items()
            if partition in nows and at <= nows[partition]
            if customer not in avoid and (not only or customer in only)
        )
        at, customers, partition = zip(*due[:limit], strict=True) if due[:limit] else ((), (), ())
        return Due([*customers], np.array(partition, np.int64), seconds_of(at), len(at) == limit)

    async def load(self, work: UnitOfWork, customers: Sequence[str], due_at: Floats) -> LoadedRows:
        """Load rows in the order of `customers`."""
        del due_at
        t = _tables(work)
        states = [t.state.get(name) for name in customers]
        current = [t.assessment.get(name) for name in customers]
        told = [t.published.get(name) for name in customers]
        timers = [t.timer[name][1] if name in t.timer else None for name in customers]
        return rows.loaded_of(
            {
                "feature_set": np.array([-1 if one is None else FEATURE_SET for one in states]),
                "revision": np.array(_of(current, "revision", 0)),
                "probability": np.array(_of(current, "probability", np.nan)),
                "band": np.array(_of(current, "band", NO_BAND)),
                "published_at": seconds_of(_of(told, "assessed_at")),
                "published_probability": np.array(_of(told, "probability", np.nan)),
                "published_band": np.array(_of(told, "band", NO_BAND)),
                "published_signs": np.array(_of(current, "published_signs", 0)),
                "due_at": seconds_of(timers),
                "look_at": seconds_of(_of(current, "next_assessment_at")),
                "grouped": np.zeros(len(customers), np.bool_),
            },
            {
                "state": [None if one is None else one[1] for one in states],
                "model_version": [t.made_by.get(name) for name in customers],
            },
        )

    async def redirects(
        self, work: UnitOfWork, ids: Collection[str], forwarded: Collection[str]
    ) -> dict[str, str]:
        """Return nothing: these tables hold no customer with several ids."""
        del work, ids, forwarded
        return {}

    async def own_states(self, work: UnitOfWork, ids: Collection[str]) -> dict[str, bytes]:
        """Return nothing, as above."""
        del work, ids
        return {}

    async def own_keys(self, work: UnitOfWork, events: EventRows) -> dict[int, bytes | None]:
        """Return nothing, as above."""
        del work, events
        return {}

    def drop(self, customers: Iterable[str]) -> None:
        """Keep nothing between transactions."""

    async def add_history(self, work: UnitOfWork, events: EventRows, recorded_at: datetime) -> None:
        """Record events before `write`, which does it for callers that have not."""
        del recorded_at
        keys = zip(events.customer, events.id, strict=True)
        _tables(work).event += keys
        self._recorded = True

    async def write(self, work: UnitOfWork, effects: BatchEffects) -> list[Pending]:
        """Write after the fence: a refused transaction is discarded whole."""
        t = _tables(work)
        _advance(t, effects.moves)
        events = effects.events
        if not self._recorded:
            await self.add_history(work, events, effects.recorded_at)
        for i, key in enumerate(zip(events.customer, events.source, events.id, strict=True)):
            if key in t.key:
                raise AlreadyStored("an event of this batch is recorded already")
            t.key[key] = events.content_hash[i]
            if (profile := events.profile[i]) is not None:
                written = (events.time[i], f"{key[1]}\n{key[2]}", msgspec.json.encode(profile))
                if key[0] not in t.profile or t.profile[key[0]][:2] < written[:2]:
                    t.profile[key[0]] = written
        self._put_states(t, effects)
        numbers, words = rows.timers(effects)
        for name, partition, at, read in zip(
            words["customer_id"],
            *(numbers[column].tolist() for column in ("partition", "due_at", "before")),
            strict=True,
        ):
            customer = (name or b"").decode()
            timer = t.timer[customer][1].timestamp() if customer in t.timer else np.nan
            if not np.array_equal(read, timer, equal_nan=True):
                raise Transient("a timer of this batch was written meanwhile")
            t.timer[customer] = partition, datetime.fromtimestamp(at, UTC)
        for row in assessed(effects):
            before = t.assessment.get(row.customer)
            if before is not None and before.revision != row.revision - 1:
                raise Transient("a customer of this batch was assessed meanwhile")
            t.assessment[row.customer] = row
            t.made_by[row.customer] = effects.predictor.version
            if row.message is not None:
                t.published[row.customer] = row
                t.history.append(row)
        return [self._keep(t, message) for message in effects.messages]

    def _put_states(self, t: Tables, effects: BatchEffects) -> None:
        packed = to_bytes(effects.states)
        states = [*zip(effects.customers, effects.partition, packed, strict=False)]
        self._to_adopt = [(c, p) for c, p, _ in states if c in t.state and t.state[c][0] != p]
        if self._to_adopt:
            raise Transient(f"{len(self._to_adopt)} customers come from another partition")
        for (customer, partition, state), stored in zip(states, effects.stored, strict=False):
            if stored != (customer in t.state):
                raise Transient("a customer of this batch was written meanwhile")
            t.state[customer] = partition, state

    @staticmethod
    def _keep(t: Tables, message: Message) -> Pending:
        t.outbox_ids += 1
        t.outbox[t.outbox_ids] = message
        return Pending(t.outbox_ids, [message])


class Remembering(CachingStore):
    """The real cache in front of a store with partitions that can be claimed."""

    def __init__(self, inner: Claiming, customers_max: int) -> None:
        super().__init__(inner, customers_max)
        self._claiming = inner

    async def take_over(self, tp: Tp) -> Claim:
        """Claim, and forget as the service does."""
        self.forget()
        return await self._claiming.take_over(tp)

    @property
    def standings(self) -> ClassificationStore:
        """The classifications of the store behind."""
        return CachingClassifications(self._claiming.standings, self)


class MemoryStandings:
    """Implements `ports.ClassificationStore` on the same tables."""

    async def load(self, work: UnitOfWork, customers: Sequence[str]) -> LoadedClassification:
        """Load rows in the order of `customers`."""
        t = _tables(work)
        override = [t.override.get(c) for c in customers]
        profile = [t.profile.get(c) for c in customers]
        found = _as_loaded([t.standing.get(c) for c in customers])
        found.override = codes([None if o is None else o[0] for o in override], GRADES)
        found.override_until = seconds_of([None if o is None else o[1] for o in override])
        away = [t.absence.get(c, (None, None)) for c in customers]
        found.away_from = seconds_of([begins for begins, _ in away])
        found.away_until = seconds_of([ends for _, ends in away])
        found.profile = objects(
            [
                None if p is None else (p[0], p[1], msgspec.json.decode(p[2], type=Profile))
                for p in profile
            ]
        )
        return found

    async def write(
        self, work: UnitOfWork, rows: ClassificationRows, changes: Sequence[CustomerChanged]
    ) -> None:
        """Replace the rows, append the changes."""
        t = _tables(work)
        t.standing |= {row.customer: row for row in _as_stored(rows)}
        t.standing_change += changes


def _as_stored(rows: ClassificationRows) -> list[SimpleNamespace]:
    """Convert codes to words, and unknown values to None."""
    columns = {f.name: getattr(rows, f.name).tolist() for f in fields(rows)}
    for name, words in WORDS.items():
        columns[name] = [None if code < 0 else words[code] for code in columns[name]]
    for name, column in columns.items():
        columns[name] = [None if one != one else one for one in column]  # noqa: PLR0124 (NaN)
    return [
        SimpleNamespace(**dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]


def _as_loaded(stored: Sequence[SimpleNamespace | None]) -> LoadedClassification:
    found = LoadedClassification.nothing(len(stored))
    for n, row in enumerate(stored):
        if row is None:
            continue
        found.at[n], found.lifecycle_since[n] = row.at, row.lifecycle_since
        for name, words in WORDS.items():
            if (said := getattr(row, name)) is not None:
                getattr(found, name)[n] = [*words].index(said)
        found.segments[n] = row.segments
        found.worth[n] = np.nan if row.worth is None else row.worth
        for name in ("sequence", "rules_revision", "policy_version", "overridden"):
            getattr(found, name)[n] = getattr(row, name)
    return found


class MemorySender:
    """Keeps what it sends; can fail like an unreachable broker."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.fails = 0
        self._acknowledged: list[int] = []

    async def forget(self, work: UnitOfWork) -> None:
        """Delete acknowledged rows within the transaction."""
        for number in self._acknowledged:
            _tables(work).outbox.pop(number, None)

    async def flush(self, pending: Sequence[Pending]) -> None:
        """Send after the commit."""
        self._acknowledged = []
        if self.fails:
            self.fails -= 1
            raise Transient("Kafka is not there")
        self.sent += [message for p in pending for message in p.messages]
        self._acknowledged = [p.id for p in pending]


def _of(stored: Sequence[AssessmentRow | None], field: str, without: object = None) -> list[Any]:
    """Return a field of each row; `without` where none is stored."""
    return [without if one is None else getattr(one, field) for one in stored]


def _tables(work: UnitOfWork) -> Tables:
    return cast("Tables", work)


def _advance(t: Tables, moves: Sequence[Move]) -> None:
    lost = {
        m.claim.tp
        for m in moves
        if (row := t.partition.get(m.claim.tp)) is None
        or (row.epoch, row.next_offset) != (m.claim.epoch, m.claim.next_offset)
    }
    if lost:
        raise Fenced(frozenset(lost))
    for move in moves:
        t.partition[move.claim.tp] = move.done()
