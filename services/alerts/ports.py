"""What alerts' handlers need of the world, and the values that they exchange with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.alerts.core.document import Policy
from services.alerts.core.message import Kind
from services.alerts.core.policy import Closed, CustomerState
from services.alerts.core.retry import Answer, Outcome
from services.alerts.core.task import Ground, Task
from services.alerts.core.trial import Trial
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed
from shared.contracts.treatment import LeavingCause, Verdict
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Message, Pending

TICK = "tick"
"""Progress of an activity partition: its newest tick, Unix seconds UTC."""


@dataclass(frozen=True, slots=True)
class ProfileSeen:
    """A profile with what orders it among others: the newest by (time, id) stands."""

    profile: Profile
    at: datetime
    event_id: str

    def replaces(self, other: "ProfileSeen | None") -> bool:
        """True when this one stands after both were seen."""
        return other is None or (self.at, self.event_id) > (other.at, other.event_id)


@dataclass(frozen=True, slots=True)
class Known:
    """A customer as stored."""

    state: CustomerState
    profile: ProfileSeen | None


@dataclass(frozen=True, slots=True)
class Assessed:
    """A decoded risk message and where it came from."""

    tp: TopicPartition
    message: RiskAssessed
    value: bytes
    """The message as it came."""


@dataclass(frozen=True, slots=True)
class PurchaseSeen:
    """A live purchase, or a refund with an amount below 0, by the event's identity."""

    customer_id: str
    source: str
    event_id: str
    at: datetime
    amount: float
    """Reporting currency; 0 where the source has no amounts."""
    refund: bool


@dataclass(slots=True)
class ActivitySeen:
    """What a batch of activity says that alerts acts on."""

    purchases: list[tuple[TopicPartition, str, datetime]]
    """Live purchases in the log's order: where, customer, when."""
    profiles: dict[str, tuple[TopicPartition, ProfileSeen]]
    """The newest profile of each customer."""
    ticks: dict[TopicPartition, datetime]
    """The newest tick of each partition."""
    dead: list[Message]
    money: list[PurchaseSeen] = field(default_factory=list)
    """Live purchases and refunds, for outcomes."""


@dataclass(frozen=True, slots=True)
class Change:
    """A task after a change that is to be told, and the partition that caused it."""

    task: Task
    cause: TopicPartition


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A message to one endpoint, due at once."""

    customer_id: str
    id: str
    endpoint_id: str
    task_id: str
    kind: Kind
    body: bytes
    created_at: datetime
    received_ms: int


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this worker may attempt until `until`."""

    customer_id: str
    id: str
    endpoint_id: str
    body: bytes
    attempts: int
    """Made so far."""
    token: UUID
    until: datetime
    received_ms: int


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt that has ended, and what follows."""

    delivery: Leased
    started_at: datetime
    ended_at: datetime
    answer: Answer
    outcome: Outcome
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class VerdictGiven:
    """What an owner says about a task."""

    task_id: str
    verdict: Verdict
    note: str | None
    leaving_cause: LeavingCause | None = None
    actor: str = "owner"


class Customers(Protocol):
    """What is remembered of customers."""

    async def lock(self, work: UnitOfWork, customers: Iterable[str]) -> dict[str, Known]: ...
    async def note_purchases(
        self, work: UnitOfWork, newest: Mapping[str, datetime]
    ) -> set[str]: ...
    async def write(self, work: UnitOfWork, states: Iterable[CustomerState]) -> None: ...
    async def write_profiles(self, work: UnitOfWork, seen: Mapping[str, ProfileSeen]) -> None: ...


class Tasks(Protocol):
    """The retention tasks."""

    async def add(self, work: UnitOfWork, tasks: Sequence[Task]) -> None: ...
    async def close(self, work: UnitOfWork, closed: Sequence[Closed]) -> list[Task]: ...
    async def customer_of(self, work: UnitOfWork, task_id: str) -> str | None: ...
    async def find(self, work: UnitOfWork, task_id: str) -> Task | None: ...
    async def find_all(self, work: UnitOfWork, task_ids: Sequence[str]) -> list[Task]: ...
    async def write(self, work: UnitOfWork, tasks: Sequence[Task]) -> None: ...


class Trials(Protocol):
    """Who was treated or left alone, and the purchases that they are measured by."""

    async def add(self, work: UnitOfWork, trials: Sequence[Trial]) -> None: ...
    async def note_purchases(self, work: UnitOfWork, seen: Sequence[PurchaseSeen]) -> None: ...


class Rules(Protocol):
    """What decisions are made by."""

    async def current(self, work: UnitOfWork) -> tuple[int, Policy]: ...
    async def ground(self, work: UnitOfWork, owners: Iterable[str], now: datetime) -> Ground: ...


class Assessments(Protocol):
    """Assessments as they came."""

    async def add(self, work: UnitOfWork, seen: Sequence[Assessed]) -> None: ...


class Deliveries(Protocol):
    """The queue of messages to endpoints, and the log of attempts."""

    async def add(self, work: UnitOfWork, deliveries: Sequence[NewDelivery]) -> None: ...
    async def claim(
        self, work: UnitOfWork, endpoints: Sequence[str], now: datetime, until: datetime, most: int
    ) -> list[Leased]: ...
    async def settle(self, work: UnitOfWork, attempts: Sequence[Attempted]) -> None: ...
    async def release(self, work: UnitOfWork, leased: Sequence[Leased], now: datetime) -> None: ...


class BusinessClock(Protocol):
    """What time it is for the business."""

    async def now(self, work: UnitOfWork) -> datetime: ...


class Relay(Protocol):
    """Sends what a transaction left in the outbox, after its commit."""

    async def forget(self, work: UnitOfWork) -> None: ...
    async def flush(self, pending: Sequence[Pending]) -> None: ...


class Outbound(Protocol):
    """Makes one attempt at one endpoint."""

    async def send(self, delivery: Leased, at: datetime) -> Answer: ...
