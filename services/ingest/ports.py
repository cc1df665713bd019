"""What ingest's handlers need of the world."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.contracts.dead_letter import DeadLetter, Headers
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that the client library could not decode; it has a place and no content."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    fault: Invalid
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Topics:
    """Where ingest writes."""

    activity: str
    dead_letter: str


class Outlet(Protocol):
    """Sends to Kafka."""

    async def send(self, records: Iterable[Record]) -> None:
        """In order; returns when all are acknowledged; Transient otherwise."""
        ...

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; Transient when the broker is not there."""
        ...


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter in the index."""

    id: int
    letter: DeadLetter
    recorded_at: datetime
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Search:
    """Which dead letters an operator means; None: any."""

    stage: str | None = None
    field: str | None = None
    waiting: bool = True
    """Only those not yet replayed."""
    id_max: int | None = None
    """None newer than this number."""


class DeadLetterIndex(Protocol):
    """The stored dead letters."""

    async def add(
        self, work: UnitOfWork, letters: Sequence[DeadLetter], recorded_at: datetime
    ) -> None:
        """Store what is new by origin."""
        ...

    async def get(self, letter_id: int) -> StoredDeadLetter | None:
        """One by its number."""
        ...

    async def search(self, search: Search, limit: int, after: int = 0) -> list[StoredDeadLetter]:
        """In the order of their numbers, beginning after number `after`."""
        ...

    async def newest(self) -> int:
        """The highest number; 0 when there is none."""
        ...

    async def mark_replayed(self, ids: Sequence[int], at: datetime) -> None:
        """Note that these were sent back."""
        ...


class IntakeStops(Protocol):
    """When the flood limit stopped the intake, kept across restarts until an operator decides."""

    async def open(self, reason: str, at: datetime) -> None:
        """Note a stop."""
        ...

    async def reason(self) -> str | None:
        """Why the intake is stopped; None when it is not."""
        ...

    async def resume(self, at: datetime) -> int:
        """End every open stop; returns how many there were."""
        ...
