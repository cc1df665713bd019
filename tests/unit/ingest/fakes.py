"""Stand-ins for Kafka, the database and the clock."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from services.ingest.core.dead_letters import ReadLetter
from services.ingest.ports import (
    Answer,
    Claimed,
    Group,
    ListedDeadLetter,
    Search,
    Settlement,
    StoredDeadLetter,
)
from shared.contracts.dead_letter import DeadLetter, Headers
from shared.http.idempotency import KEPT
from shared.kafka.producer import Record as Outgoing
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork
from tests.unit.ingest.events import ARRIVED_MS

NOW = datetime.fromtimestamp(ARRIVED_MS / 1000, UTC)
PARTITIONS = 3


@dataclass(slots=True)
class Consumed:
    """A consumed record."""

    value: bytes | None
    offset: int = 0
    key: bytes | None = b"k"
    headers: Headers = ()
    timestamp: int = ARRIVED_MS
    topic: str = "raw"
    partition: int = 0


@dataclass(slots=True)
class FakeOutlet:
    """Keeps what is sent; the first `failures` sends fail.

    `after` runs after each successful one.
    """

    sent: list[Outgoing] = field(default_factory=list)
    failures: int = 0
    after: Callable[[], None] = lambda: None
    acknowledging: asyncio.Event | None = None
    """Sends wait for this event, when there is one."""

    async def send(self, records: Iterable[Outgoing]) -> None:
        if self.acknowledging is not None:
            await self.acknowledging.wait()
        if self.failures:
            self.failures -= 1
            raise Transient("no broker")
        self.sent += records
        self.after()

    async def partitions(self, _: str) -> int:
        return PARTITIONS


@dataclass(slots=True)
class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass(slots=True)
class FakeStops:
    """Stops in memory."""

    open_reasons: list[str] = field(default_factory=list)
    failures: int = 0

    async def open(self, reason: str, _: datetime) -> None:
        if self.failures:
            self.failures -= 1
            raise Transient("no database")
        self.open_reasons.append(reason)

    async def reason(self) -> str | None:
        return self.open_reasons[0] if self.open_reasons else None

    async def resume(self, _: datetime) -> int:
        count = len(self.open_reasons)
        self.open_reasons.clear()
        return count


@dataclass(slots=True)
class FakeIndex:
    """Dead letters in memory, numbered from 1."""

    rows: list[StoredDeadLetter] = field(default_factory=list)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        yield cast("UnitOfWork", None)

    def put(self, letter: DeadLetter, replay_of: int | None = None) -> None:
        facts = ListedDeadLetter(
            id=len(self.rows) + 1,
            origin=letter.origin,
            stage=letter.stage,
            field=letter.field,
            reason=letter.reason,
            producer=ReadLetter(letter).producer,
            recorded_at=NOW,
            state="waiting",
            replay_of=replay_of,
        )
        self.rows.append(StoredDeadLetter(facts, letter))

    async def add(self, _: UnitOfWork, letters: Sequence[ReadLetter], __: datetime) -> None:
        replayed = {row.facts.id for row in self.rows if row.facts.state == "replayed"}
        for read in letters:
            if all(row.letter.origin != read.letter.origin for row in self.rows):
                self.put(read.letter, read.replay_of if read.replay_of in replayed else None)

    async def get(self, letter_id: int) -> StoredDeadLetter | None:
        return next((row for row in self.rows if row.facts.id == letter_id), None)

    async def search(self, search: Search, limit: int, after: int = 0) -> list[ListedDeadLetter]:
        return [row.facts for row in self._found(search) if row.facts.id > after][:limit]

    async def groups(self, search: Search, limit: int) -> list[Group]:
        same: dict[tuple[str, str, str], list[ListedDeadLetter]] = {}
        for row in self._found(search):
            facts = row.facts
            kind = re.sub("'[^']*'|\"[^\"]*\"|[0-9]+([.:,/-][0-9]+)*", "…", facts.reason)
            same.setdefault((facts.stage, facts.field, kind), []).append(facts)
        found = [
            Group(
                stage,
                field,
                len(every),
                sum(facts.replay_of is not None for facts in every),
                min(facts.recorded_at for facts in every),
                max(facts.recorded_at for facts in every),
                every[-1].id,
                every[-1].reason,
            )
            for (stage, field, _), every in same.items()
        ]
        return sorted(found, key=lambda group: (-group.count, -group.example))[:limit]

    async def newest(self) -> int:
        return len(self.rows)

    async def locked(
        self, _: UnitOfWork, search: Search, ids: Sequence[int] | None, limit: int, after: int
    ) -> list[StoredDeadLetter]:
        found = [row for row in self._found(search) if row.facts.id > after]
        return [row for row in found if ids is None or row.facts.id in ids][:limit]

    async def settle(self, _: UnitOfWork, ids: Sequence[int], done: Settlement) -> None:
        changes: dict[str, Any] = {
            "state": done.state,
            "settled_at": done.at,
            "settled_by": done.by,
            "settled_why": done.why,
        }
        self.rows = [
            replace(row, facts=replace(row.facts, **changes)) if row.facts.id in ids else row
            for row in self.rows
        ]

    async def refused_again(self, ids: Sequence[int]) -> dict[int, int]:
        facts = [row.facts for row in self.rows]
        return {one.replay_of: one.id for one in facts if one.replay_of in ids and one.replay_of}

    async def drop_contents(self, settled_before: datetime, at: datetime, limit: int) -> int:
        due = [
            row.facts.id
            for row in self.rows
            if row.facts.settled_at is not None
            and row.facts.settled_at < settled_before
            and row.facts.dropped_at is None
        ][:limit]
        self.rows = [
            StoredDeadLetter(
                replace(row.facts, dropped_at=at),
                replace(row.letter, key=None, value=None, original_headers=()),
            )
            if row.facts.id in due
            else row
            for row in self.rows
        ]
        return len(due)

    def _found(self, search: Search) -> list[StoredDeadLetter]:
        return [row for row in self.rows if _matches(row.facts, search)]


def _matches(facts: ListedDeadLetter, search: Search) -> bool:
    places = (facts.origin.topic, facts.producer)
    return (
        (search.id_max is None or facts.id <= search.id_max)
        and (search.stage is None or facts.stage == search.stage)
        and (search.field is None or facts.field == search.field)
        and (search.state is None or facts.state == search.state)
        and (search.reason is None or search.reason.lower() in facts.reason.lower())
        and (search.source is None or search.source in places)
        and (search.since is None or facts.recorded_at >= search.since)
        and (search.until is None or facts.recorded_at < search.until)
    )


@dataclass(slots=True)
class FakeAnswers:
    """Answers in memory."""

    rows: dict[tuple[str, str], tuple[Claimed, datetime]] = field(default_factory=dict)

    async def claim(self, owner: str, key: str, digest: bytes, at: datetime) -> Claimed:
        found = self.rows.get((owner, key))
        if found is None or found[1] <= at - KEPT:
            found = self.rows[owner, key] = (Claimed(digest, None), at)
        return found[0]

    async def store(self, owner: str, key: str, answer: Answer) -> None:
        claimed, at = self.rows[owner, key]
        self.rows[owner, key] = (Claimed(claimed.digest, answer), at)
