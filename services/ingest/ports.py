"""The interfaces that ingest's handlers need."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from services.ingest.core.dead_letters import ReadLetter
from services.ingest.core.framing.frame import SchemaKey
from services.ingest.core.framing.schemas import Reference, RegisteredSchema
from services.ingest.core.source_clocks import SourceReport
from shared.contracts.dead_letter import DeadLetter, Headers, Origin
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
    """The topics that ingest writes to."""

    activity: str
    dead_letter: str


class Outlet(Protocol):
    """Sends to Kafka."""

    async def send(self, records: Iterable[Record]) -> None:
        """Send in order; returns when all are acknowledged; Transient otherwise."""
        ...

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; Transient when the broker is unreachable."""
        ...


State = Literal["waiting", "replayed", "discarded"]


@dataclass(frozen=True, slots=True)
class ListedDeadLetter:
    """The facts about a dead letter in the index, without its content. Times are UTC."""

    id: int
    origin: Origin
    stage: str
    field: str
    reason: str
    producer: str | None
    """The event's `source`, where one can be read."""
    recorded_at: datetime
    state: State
    replay_of: int | None = None
    """The dead letter with a replay that was refused again as this one."""
    settled_at: datetime | None = None
    """When it was last replayed or discarded."""
    settled_by: str | None = None
    settled_why: str | None = None
    dropped_at: datetime | None = None
    """When its content was deleted, some time after it was settled."""


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter in the index, with its content."""

    facts: ListedDeadLetter
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Search:
    """A filter of dead letters; None: any."""

    stage: str | None = None
    field: str | None = None
    reason: str | None = None
    """A part of the reason, in any case of letters."""
    source: str | None = None
    """The topic or route that it came by, or the event's `source`."""
    since: datetime | None = None
    until: datetime | None = None
    """Recorded from `since` on and before `until`."""
    state: State | None = "waiting"
    id_max: int | None = None
    """Only those up to this number."""


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters with the same fault: same stage, field and reason but for quoted values."""

    stage: str
    field: str
    count: int
    again: int
    """How many of them are replays that were refused again."""
    first_at: datetime
    last_at: datetime
    example: int
    """Number of the newest."""
    reason: str
    """The newest one's."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an operator did with dead letters: when, who and why."""

    state: State
    at: datetime
    by: str
    why: str | None = None


class DeadLetterIndex(Protocol):
    """The stored dead letters."""

    def transaction(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Begin a unit of work."""
        ...

    async def add(
        self, work: UnitOfWork, letters: Sequence[ReadLetter], recorded_at: datetime
    ) -> None:
        """Store the letters with a new origin."""
        ...

    async def get(self, letter_id: int) -> StoredDeadLetter | None:
        """Return the dead letter with this number."""
        ...

    async def search(self, search: Search, limit: int, after: int = 0) -> list[ListedDeadLetter]:
        """Return matches in the order of their numbers, beginning after number `after`."""
        ...

    async def groups(self, search: Search, limit: int) -> list[Group]:
        """Return the most frequent faults among matches, at most `limit`, most frequent first."""
        ...

    async def newest(self) -> int:
        """Return the highest number; 0 when there is none."""
        ...

    async def locked(
        self, work: UnitOfWork, search: Search, ids: Sequence[int] | None, limit: int, after: int
    ) -> list[StoredDeadLetter]:
        """Return matches like `search`, of these `ids` where given, locked until the work ends."""
        ...

    async def settle(self, work: UnitOfWork, ids: Sequence[int], done: Settlement) -> None:
        """Note what was done with these."""
        ...

    async def refused_again(self, ids: Sequence[int]) -> dict[int, int]:
        """Return, by number, the newest dead letter that a replay of it was refused as."""
        ...

    async def drop_contents(self, settled_before: datetime, at: datetime, limit: int) -> int:
        """Delete the content of up to `limit` settled dead letters; returns of how many."""
        ...


class ClockStore(Protocol):
    """What was observed of the sources' clocks, by day."""

    async def add(self, reports: Sequence[SourceReport], at: datetime) -> None:
        """Add to the day's counts."""
        ...


class IntakeStops(Protocol):
    """The stops of the intake by the flood limit, kept until an operator resumes it."""

    async def open(self, reason: str, at: datetime) -> None:
        """Note a stop."""
        ...

    async def reason(self) -> str | None:
        """Return why the intake is stopped; None when it is not."""
        ...

    async def resume(self, at: datetime) -> int:
        """End every open stop; returns how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class StoredMapping:
    """One version of a mapping. `topics` and `http_sources`: what it is applied to."""

    name: str
    version: int
    document: str
    topics: tuple[str, ...]
    http_sources: tuple[str, ...]
    created_at: datetime
    actor: str
    note: str | None = None


class MappingStore(Protocol):
    """The stored mappings."""

    async def current(self) -> list[StoredMapping]:
        """Return the newest version of each, by name. Raises Transient."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: its HTTP status and its body in JSON."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is stored for an `Idempotency-Key`: the digest of its request, and the answer.

    The answer is None while the request is in progress, or where it ended without one.
    """

    digest: bytes
    answer: Answer | None


class Answers(Protocol):
    """The stored answers to requests with an `Idempotency-Key`."""

    async def claim(self, owner: str, key: str, digest: bytes, at: datetime) -> Claimed:
        """Store the key where it is new; return what is stored for it. Raises Transient."""
        ...

    async def store(self, owner: str, key: str, answer: Answer) -> None:
        """Store the answer of a claimed key. Raises Transient."""
        ...


class ImportNotes(Protocol):
    """What is kept of an import between runs, so that an interrupted one goes on."""

    @property
    def name(self) -> str:
        """Return the name of the import in the header of its records."""
        ...

    @property
    def acknowledged(self) -> int:
        """Return how many events of the files, in their order, need not be sent again."""
        ...

    @property
    def digest(self) -> str:
        """Return the digest that these events had, as `acknowledge` received it."""
        ...

    def begin(self) -> None:
        """Note, durably, that records of this name are about to be sent."""
        ...

    def acknowledge(self, events: int, digest: str) -> None:
        """Note that so many events of the files were acknowledged, and the digest of them all."""
        ...

    def begun(self) -> list[str]:
        """Return the names of the imports that were begun and not ended."""
        ...

    def end(self) -> None:
        """Note that all imports begun have ended."""
        ...


class SchemaSource(Protocol):
    """A schema registry."""

    async def schema(self, key: SchemaKey) -> RegisteredSchema:
        """Return a schema; raises Invalid where there is none or it is unusable, and Transient."""
        ...

    async def version(self, reference: Reference, *, serialized: bool) -> RegisteredSchema:
        """Return a schema that another one refers to; raises Invalid and Transient.

        `serialized`: it is one of Protobuf, and is returned as its descriptor in base64.
        """
        ...
