"""What alerts' handlers need of the world, and the values that they exchange with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from services.alerts.core.connectors.back import Found, Rule
from services.alerts.core.connectors.token import Token, Turn
from services.alerts.core.document import Policy
from services.alerts.core.endpoint import Endpoint, Payload, Route
from services.alerts.core.life import TaskEvent
from services.alerts.core.message import Kind
from services.alerts.core.owner import OwnerRecord
from services.alerts.core.policy import Closed, CustomerState
from services.alerts.core.retry import Answer, Outcome
from services.alerts.core.task import Ground, Task
from services.alerts.core.trial import Trial
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed
from shared.contracts.treatment import LeavingCause, Verdict
from shared.postgres.engine import Driver, UnitOfWork
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Message, Pending

ALONE_FROM = 2
"""Leases of a delivery lost in a row from which on it is sent alone; from there on only deaths
while it is sent count. One says nothing: a process that is killed leaves some hundreds."""

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


class Known(msgspec.Struct, frozen=True, gc=False):
    """A customer as stored."""

    state: CustomerState
    profile: ProfileSeen | None


class Assessed(msgspec.Struct, frozen=True, gc=False):
    """A decoded risk message and where it came from."""

    tp: TopicPartition
    message: RiskAssessed
    value: bytes
    """The message as it came."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A decoded change of a customer's standing and where it came from."""

    tp: TopicPartition
    change: CustomerChanged


class PurchaseSeen(msgspec.Struct, frozen=True, gc=False):
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
    joined: tuple[str, ...] = ()
    """Causes that joined the open task by this change; none by others."""


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
    task_id: str
    kind: str
    body: bytes
    """A `core.message.Body` as JSON."""
    attempts: int
    """Made so far."""
    uncertain: bool
    """The last attempt was ambiguous: it may be there already."""
    remote_id: str | None
    """What the receiving system calls the task, where an earlier message of it told us."""
    token: UUID
    until: datetime
    received_ms: int
    lost: int = 0
    """Leases in a row that ran out without an outcome, and then the times that it was sent alone
    without one: the processes ended, or stood still."""


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt that has ended, and what follows."""

    delivery: Leased
    started_at: datetime
    ended_at: datetime
    answer: Answer
    outcome: Outcome
    next_at: datetime | None
    uncertain: bool = False
    """Whether the next attempt must look before it creates."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An endpoint as whoever queues messages sees it."""

    endpoint_id: str
    route: Route
    payload: Payload


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
    async def write(
        self, work: UnitOfWork, states: Iterable[CustomerState], before: Mapping[str, Known]
    ) -> None: ...
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
    async def measure(
        self, work: UnitOfWork, ended_by: datetime, at: datetime, most: int
    ) -> int: ...
    async def forget_purchases(self, work: UnitOfWork, before: datetime, most: int) -> int: ...


class TaskLog(Protocol):
    """What happened to tasks."""

    async def add(self, work: UnitOfWork, events: Sequence[TaskEvent]) -> None: ...


class Rules(Protocol):
    """What decisions are made by."""

    async def hold_allocation(self, work: UnitOfWork, owners: Sequence[str]) -> None: ...
    async def owners(self, work: UnitOfWork, ids: Iterable[str]) -> dict[str, OwnerRecord]: ...
    async def current(self, work: UnitOfWork) -> tuple[int, Policy]: ...
    async def save_rates(self, work: UnitOfWork) -> Mapping[str, float]: ...
    async def ground(self, work: UnitOfWork, owners: Iterable[str], now: datetime) -> Ground: ...


class Assessments(Protocol):
    """Assessments as they came."""

    async def add(self, work: UnitOfWork, seen: Sequence[Assessed]) -> None: ...
    async def between(
        self, work: UnitOfWork, begin: datetime, end: datetime, after: str, customers: int
    ) -> dict[str, list[RiskAssessed]]: ...
    async def purchases(
        self, work: UnitOfWork, customers: Sequence[str], begin: datetime
    ) -> dict[str, list[datetime]]: ...
    async def profiles(self, work: UnitOfWork, customers: Sequence[str]) -> dict[str, Profile]: ...
    async def forget(self, work: UnitOfWork, before: datetime, most: int) -> int: ...


class Deliveries(Protocol):
    """The queue of messages to endpoints, and the log of attempts."""

    async def add(self, work: UnitOfWork, deliveries: Sequence[NewDelivery]) -> None: ...
    async def look(
        self, driver: Driver, endpoints: Sequence[str], now: datetime
    ) -> tuple[Mapping[str, int], bool]: ...
    async def claim(
        self, work: UnitOfWork, most: Mapping[str, int], now: datetime, until: datetime
    ) -> list[Leased]: ...
    async def settle(
        self, work: UnitOfWork, attempts: Sequence[Attempted]
    ) -> Mapping[str, str]: ...
    async def release(self, work: UnitOfWork, leased: Sequence[Leased], now: datetime) -> None: ...
    async def begin_alone(self, work: UnitOfWork, message: Leased) -> None: ...


class Routes(Protocol):
    """Where messages are to be queued."""

    async def routes(self, work: UnitOfWork) -> Sequence[Routed]: ...


class Endpoints(Protocol):
    """The endpoints that may be sent to, and their rates."""

    async def sendable(self, work: UnitOfWork) -> Sequence[Endpoint]: ...
    async def take(
        self, work: UnitOfWork, wanted: Mapping[str, int], now: datetime
    ) -> Mapping[str, int]: ...
    async def give_back(self, work: UnitOfWork, unused: Mapping[str, int]) -> None: ...


class EndpointFinder(Protocol):
    """An endpoint by its id."""

    async def find(self, work: UnitOfWork, endpoint_id: str) -> Endpoint | None: ...


class BusinessClock(Protocol):
    """What time it is for the business."""

    async def now(self, work: UnitOfWork) -> datetime: ...


class Relay(Protocol):
    """Sends what a transaction left in the outbox, after its commit."""

    async def forget(self, work: UnitOfWork) -> None: ...
    async def flush(self, pending: Sequence[Pending]) -> None: ...


class Connector(Protocol):
    """One endpoint's way into a receiving system. It reads what the system answers into one of
    the six results (`core.retry.Result`); it never decides when to try again.

    Errors that it meets are answers too: it raises for bugs only. What it holds (an access
    token) is shared by all attempts of a process, several of which may be under way at once.
    """

    async def send(self, message: Leased, at: datetime) -> Answer:
        """Create or change the task once, at `at` (UTC)."""
        ...

    async def find(self, message: Leased, at: datetime) -> Answer | None:
        """After an ambiguous attempt: look the task up by our key. None: it is not there and
        may be created; `ok`: it is there, as the message wants it; else: it is not known yet."""
        ...

    async def refresh(self, since: datetime) -> Answer | None:
        """After `refresh_token`: get a new token, unless one was got after `since`. None: done;
        an answer: why not."""
        ...

    async def close(self) -> None:
        """Let go what is held."""
        ...


class Connectors(Protocol):
    """The connector of each endpoint."""

    def of(self, endpoint: Endpoint) -> Connector: ...


class TokenStore(Protocol):
    """Where processes share the access tokens of CRMs."""

    async def read(self, endpoint_id: str, version: int) -> Token | None: ...
    async def take_turn(
        self, endpoint_id: str, now: datetime, until: datetime, since: datetime, most: int
    ) -> Turn: ...
    async def end_turn(self, endpoint_id: str, version: int, token: Token | None) -> None: ...


class OwnerTable(Protocol):
    """Who an account owner is in each CRM."""

    async def remote(self, endpoint_id: str, owner_id: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a CRM for changes that this process is to make."""

    since: datetime
    """Changes before it have been read."""
    until: datetime
    """So long nobody else looks."""
    watched_until: datetime | None
    """Until when the CRM tells us of changes by itself."""


class Looks(Protocol):
    """How far the changes of each CRM have been read, and when to look again."""

    async def begin(self, endpoint_id: str, now: datetime, until: datetime) -> Look | None: ...
    async def end(self, endpoint_id: str, look: Look, next_at: datetime) -> None: ...
    async def hasten(self, endpoint_id: str, at: datetime) -> None: ...


class ChangeReader(Protocol):
    """A connector of a CRM that keeps tasks as records and can be asked what became of them."""

    async def changes(self, since: datetime) -> list[Found] | Answer: ...
    def said(self, found: Found) -> Rule | None: ...
    async def watch(self, now: datetime, until: datetime | None) -> datetime | Answer | None: ...
    async def refresh(self, since: datetime) -> Answer | None: ...


class MemberPace(Protocol):
    """How much a member of a CRM may be sent now."""

    async def wait_s(self, endpoint_id: str, member: str, now: datetime) -> float: ...


class Callbacks(Protocol):
    """What has come back and was acted on."""

    async def seen(self, endpoint_id: str, key: str) -> bool: ...
    async def note(self, endpoint_id: str, key: str, at: datetime) -> None: ...
