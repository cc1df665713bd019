"""Stand-ins for Kafka, the database and the clock."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.ingest.ports import Answer, Claimed, Search, StoredDeadLetter
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

    def put(self, letter: DeadLetter) -> None:
        self.rows.append(StoredDeadLetter(len(self.rows) + 1, letter, NOW, None))

    async def add(self, _: UnitOfWork, letters: Sequence[DeadLetter], __: datetime) -> None:
        for letter in letters:
            if all(row.letter.origin != letter.origin for row in self.rows):
                self.put(letter)

    async def get(self, letter_id: int) -> StoredDeadLetter | None:
        return next((row for row in self.rows if row.id == letter_id), None)

    async def search(self, search: Search, limit: int, after: int = 0) -> list[StoredDeadLetter]:
        return [
            row
            for row in self.rows
            if row.id > after
            and (search.id_max is None or row.id <= search.id_max)
            and (search.stage is None or row.letter.stage == search.stage)
            and (search.field is None or row.letter.field == search.field)
            and not (search.waiting and row.replayed_at)
        ][:limit]

    async def newest(self) -> int:
        return len(self.rows)

    async def mark_replayed(self, ids: Sequence[int], at: datetime) -> None:
        self.rows = [
            StoredDeadLetter(
                row.id, row.letter, row.recorded_at, at if row.id in ids else row.replayed_at
            )
            for row in self.rows
        ]


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
