"""Protocols that the handlers depend on, and the values that they exchange."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec

from services.alerts.core.effect import Effect, MeasuredSubject
from services.alerts.core.experiment_subject import ExperimentSubject
from services.alerts.core.owner import OwnerRecord
from services.alerts.core.policy import Closed, CustomerState
from services.alerts.core.policy_document import Policy
from services.alerts.core.task import Ground, Task
from services.alerts.core.task_lifecycle import TaskEvent
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed
from shared.contracts.treatment import LeavingCause, Verdict
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Message

TICK = "tick"
"""Key in the progress of an activity partition: its newest tick, Unix seconds UTC."""


@dataclass(frozen=True, slots=True)
class ProfileSeen:
    """A profile with the fields that order it: the newest by (`at`, `event_id`) is valid."""

    profile: Profile
    at: datetime
    event_id: str

    def replaces(self, other: "ProfileSeen | None") -> bool:
        """Return whether this profile is newer than `other`."""
        return other is None or (self.at, self.event_id) > (other.at, other.event_id)


class KnownCustomer(msgspec.Struct, frozen=True, gc=False):
    """A customer as stored."""

    state: CustomerState
    profile: ProfileSeen | None

    @property
    def contact(self) -> Profile:
        """The newest profile; an empty one where none has arrived."""
        return self.profile.profile if self.profile else Profile()


class AssessmentSeen(msgspec.Struct, frozen=True, gc=False):
    """A decoded risk message and where it came from."""

    tp: TopicPartition
    message: RiskAssessed
    value: bytes
    """The message as received."""


@dataclass(frozen=True, slots=True)
class ClassificationChanged:
    """A decoded change of a customer's classification and where it came from."""

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
    """The part of a batch of activity that alerts acts on."""

    purchases: list[tuple[TopicPartition, str, datetime]]
    """Live purchases in the log's order: (partition, customer, time)."""
    profiles: dict[str, tuple[TopicPartition, ProfileSeen]]
    """The newest profile of each customer."""
    ticks: dict[TopicPartition, datetime]
    """The newest tick of each partition."""
    dead: list[Message]
    money: list[PurchaseSeen] = field(default_factory=list)
    """Live purchases and refunds, for outcomes."""


@dataclass(frozen=True, slots=True)
class TaskChange:
    """A task after a change to be sent, and the partition that caused it."""

    task: Task
    cause: TopicPartition
    joined: tuple[str, ...] = ()
    """Causes that joined the open task by this change; empty for other changes."""


@dataclass(frozen=True, slots=True)
class VerdictGiven:
    """An owner's verdict on a task."""

    task_id: str
    verdict: Verdict
    note: str | None
    leaving_cause: LeavingCause | None = None
    actor: str = "owner"


class Customers(Protocol):
    """Customer states and profiles."""

    async def lock(
        self, work: UnitOfWork, customers: Iterable[str]
    ) -> dict[str, KnownCustomer]: ...
    async def note_purchases(
        self, work: UnitOfWork, newest: Mapping[str, datetime]
    ) -> set[str]: ...
    async def write(
        self, work: UnitOfWork, states: Iterable[CustomerState], before: Mapping[str, KnownCustomer]
    ) -> None: ...
    async def write_profiles(self, work: UnitOfWork, seen: Mapping[str, ProfileSeen]) -> None: ...


class Tasks(Protocol):
    """Storage of the retention tasks."""

    async def add(self, work: UnitOfWork, tasks: Sequence[Task]) -> None: ...
    async def close(self, work: UnitOfWork, closed: Sequence[Closed]) -> list[Task]: ...
    async def customer_of(self, work: UnitOfWork, task_id: str) -> str | None: ...
    async def find(self, work: UnitOfWork, task_id: str) -> Task | None: ...
    async def find_all(self, work: UnitOfWork, task_ids: Sequence[str]) -> list[Task]: ...
    async def write(self, work: UnitOfWork, tasks: Sequence[Task]) -> None: ...


class Trials(Protocol):
    """Customers who were treated or held out, and the purchases that they are measured by."""

    async def add(self, work: UnitOfWork, trials: Sequence[ExperimentSubject]) -> None: ...
    async def note_purchases(self, work: UnitOfWork, seen: Sequence[PurchaseSeen]) -> None: ...
    async def measure(
        self, work: UnitOfWork, ended_by: datetime, at: datetime, most: int
    ) -> int: ...
    async def forget_purchases(self, work: UnitOfWork, before: datetime, most: int) -> int: ...


class TaskLog(Protocol):
    """The history of tasks."""

    async def add(self, work: UnitOfWork, events: Sequence[TaskEvent]) -> None: ...


class Policies(Protocol):
    """The policy, owners' records and save rates that decisions depend on."""

    async def hold_allocation(self, work: UnitOfWork, owners: Sequence[str]) -> None: ...
    async def owners(self, work: UnitOfWork, ids: Iterable[str]) -> dict[str, OwnerRecord]: ...
    async def current(self, work: UnitOfWork) -> tuple[int, Policy]: ...
    async def save_rates(self, work: UnitOfWork) -> Mapping[str, float]: ...
    async def ground(self, work: UnitOfWork, owners: Iterable[str], now: datetime) -> Ground: ...


class Assessments(Protocol):
    """Stored assessments, with the purchases and profiles of their customers."""

    async def add(self, work: UnitOfWork, seen: Sequence[AssessmentSeen]) -> None: ...
    async def between(
        self, work: UnitOfWork, begin: datetime, end: datetime, after: str, customers: int
    ) -> dict[str, list[RiskAssessed]]: ...
    async def purchases(
        self, work: UnitOfWork, customers: Sequence[str], begin: datetime
    ) -> dict[str, list[datetime]]: ...
    async def profiles(self, work: UnitOfWork, customers: Sequence[str]) -> dict[str, Profile]: ...
    async def forget(self, work: UnitOfWork, before: datetime, most: int) -> int: ...


class BusinessClock(Protocol):
    """The clock of business time."""

    async def now(self, work: UnitOfWork) -> datetime: ...


@dataclass(frozen=True, slots=True)
class ScheduledCustomer:
    """A customer that a schedule applies to."""

    customer_id: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class Load:
    """An owner's tasks of a day: those allocated today, and those that wait for capacity."""

    taken: int
    waiting: int


class Effects(Protocol):
    """The subjects of the comparison, and the save rates that it measures."""

    async def subjects(
        self, work: UnitOfWork, policy: str, begin: datetime | None, end: datetime | None
    ) -> list[MeasuredSubject]: ...
    async def unmeasured(self, work: UnitOfWork, policy: str) -> int: ...
    async def put_save_rates(
        self, work: UnitOfWork, rates: Mapping[str, tuple[float, Effect]], at: datetime
    ) -> None: ...


class Schedules(Protocol):
    """Queries for the customers of a schedule, and for segment entries and their tasks."""

    async def born_on(
        self, work: UnitOfWork, days: Sequence[str], grades: Sequence[str], after: str, most: int
    ) -> list[ScheduledCustomer]: ...
    async def all_customers(
        self, work: UnitOfWork, grades: Sequence[str], after: str, most: int
    ) -> list[ScheduledCustomer]: ...
    async def unvisited(
        self,
        work: UnitOfWork,
        since: datetime,
        cause: str,
        grades: Sequence[str],
        after: str,
        most: int,
    ) -> list[ScheduledCustomer]: ...
    async def first_entries(
        self, work: UnitOfWork, entries: Sequence[CustomerChanged]
    ) -> set[tuple[str, int]]: ...
    async def new_only(self, work: UnitOfWork, tasks: Sequence[Task]) -> list[Task]: ...
    async def stored(self, work: UnitOfWork, ids: Mapping[str, str]) -> set[str]: ...
    async def with_open_task(
        self, work: UnitOfWork, causes: Sequence[tuple[str, str]]
    ) -> set[tuple[str, str]]: ...
    async def entries(
        self, work: UnitOfWork, left: Sequence[CustomerChanged]
    ) -> set[tuple[str, str, int]]: ...


class DueTasks(Protocol):
    """Queries for tasks with a timer that is due, and for owners' waiting tasks."""

    async def quiet_over(self, work: UnitOfWork, now: datetime, most: int) -> list[str]: ...
    async def unanswered(self, work: UnitOfWork, now: datetime, most: int) -> list[str]: ...
    async def expired(self, work: UnitOfWork, now: datetime, most: int) -> list[str]: ...
    async def waiting_owners(self, work: UnitOfWork, most: int) -> list[str]: ...
    async def loads(self, work: UnitOfWork, since: dict[str, datetime]) -> dict[str, Load]: ...
    async def most_worthwhile(
        self, work: UnitOfWork, owner_id: str, most: int, skip: int = 0
    ) -> list[str]: ...


class Erasure(Protocol):
    """Deletes the personal data of a customer."""

    async def forget_names(self, work: UnitOfWork, customer_id: str) -> None: ...
    async def forget(self, work: UnitOfWork, customer_id: str) -> None: ...
