"""Protocols that the handlers depend on, and the values that they exchange."""

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from services.alerts.core.policy import CustomerState
from services.alerts.core.task import Task
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed
from shared.contracts.treatment import LeavingCause, Verdict
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
    part_of: str | None = None
    """The customer that this id is part of (docs/identity.md); None: one of its own."""

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


@dataclass(frozen=True, slots=True)
class ScheduledCustomer:
    """A customer that a schedule applies to."""

    customer_id: str
    profile: Profile
