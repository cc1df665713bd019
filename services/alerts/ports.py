"""Protocols that the handlers depend on, and the values that they exchange."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from services.alerts.core.consent import Subscription, Wishes
from services.alerts.core.consent_history import Said, Statement
from services.alerts.core.policy import CustomerState
from services.alerts.core.task import Task
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import FeedbackKind, Profile
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
    source: str = ""
    """Of the event; empty for a stored profile."""
    consented: Mapping[str, datetime] = field(default_factory=dict)
    """Channels that it consents to, each since the first of the profiles in a row of its batch."""
    renewed: frozenset[str] = frozenset()
    """Those of `consented` that a profile of the batch did not consent to before."""

    def after(self, before: "ProfileSeen | None") -> "ProfileSeen":
        """Return this profile as it follows `before`, the one of its batch that it replaces."""
        agreed = [channel for channel, agrees in self.profile.consent.items() if agrees]
        known = {} if before is None else before.consented
        again = frozenset() if before is None else {c for c in agreed if c not in known}
        kept = frozenset() if before is None else before.renewed.intersection(agreed)
        since = {channel: known.get(channel, self.at) for channel in agreed}
        return replace(self, consented=since, renewed=kept.union(again))

    def replaces(self, other: "ProfileSeen | None") -> bool:
        """Return whether this profile is newer than `other`."""
        return other is None or (self.at, self.event_id) > (other.at, other.event_id)


class KnownCustomer(msgspec.Struct, frozen=True, gc=False):
    """A customer as stored."""

    state: CustomerState
    profile: ProfileSeen | None
    part_of: str | None = None
    """The customer that this id is part of (docs/identity.md); None: one of its own."""
    grouped: bool = False
    """Whether it is a customer with several ids: `profile` is then made of those of all."""
    own: ProfileSeen | None = None
    """The profile that came with this id alone."""

    subscriptions: tuple[Subscription, ...] = ()

    @property
    def wishes(self) -> Wishes:
        """What the customer allows."""
        return Wishes(self.contact, self.subscriptions)

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

    @property
    def customer_id(self) -> str:
        """The customer that it is about."""
        return self.message.customer_id


@dataclass(frozen=True, slots=True)
class ClassificationChanged:
    """A decoded change of a customer's classification and where it came from."""

    tp: TopicPartition
    change: CustomerChanged

    @property
    def customer_id(self) -> str:
        """The customer that it is about."""
        return self.change.customer_id


class PurchaseSeen(msgspec.Struct, frozen=True, gc=False):
    """A live purchase, or a refund with an amount below 0, by the event's identity."""

    customer_id: str
    source: str
    event_id: str
    at: datetime
    amount: float
    """Reporting currency; 0 where the source has no amounts."""
    refund: bool
    came_with: str | None = None
    """The id that it came with, where that is part of the customer."""


class FeedbackSeen(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """Feedback of a customer, by the event's identity."""

    customer_id: str
    source: str
    event_id: str
    at: datetime
    kind: FeedbackKind
    score: float | None
    text: str | None
    """Personal data: it is in no log."""
    channel: str | None
    case_id: str | None
    history: bool
    """True: of a backfill, so that it is no news."""


class SubscriptionSeen(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """The customer unsubscribed from a channel, or subscribed again."""

    customer_id: str
    channel: str
    """In lower case; `*`: all."""
    at: datetime
    ended: bool
    """True: unsubscribed."""
    reported_by: str
    """The event's source, or the provider's endpoint."""
    event_id: str
    """Of the event, or of the message that the provider reports on."""
    tp: TopicPartition | None = None
    """Where it came from; None: over HTTP."""

    def stated(self) -> Statement:
        """Return it as a statement for the history."""
        said: Said = "unsubscribed" if self.ended else "subscribed"
        who = (self.customer_id, self.at, self.reported_by, self.event_id)
        return Statement(*who, self.channel, said)


@dataclass(frozen=True, slots=True)
class ErasureSeen:
    """A request to erase a customer, or in another topic the sign that nothing older follows."""

    tp: TopicPartition
    customer_id: str
    request_id: str
    at: datetime
    """When it was requested."""


Seen = TypeVar("Seen", AssessmentSeen, ClassificationChanged)


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Seen]):
    """A decoded batch of a topic that scoring publishes, in the log's order."""

    seen: list[Seen]
    dead: list[Message]
    erased: list[ErasureSeen]
    """Tombstones of erasures; what the batch had of their customers before is left out."""


OfCustomer = TypeVar("OfCustomer", PurchaseSeen, FeedbackSeen, SubscriptionSeen)


def _newer(seen: list[OfCustomer], erased: Mapping[str, datetime]) -> list[OfCustomer]:
    """Return what is not older than the erasure of its customer."""
    return [x for x in seen if x.customer_id not in erased or x.at >= erased[x.customer_id]]


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
    feedback: list[FeedbackSeen] = field(default_factory=list)
    subscriptions: list[SubscriptionSeen] = field(default_factory=list)
    """Of backfills too: a wish does not age."""
    all_profiles: list[tuple[str, ProfileSeen]] = field(default_factory=list)
    """Every profile with its customer, in the log's order, for the history of wishes."""
    erasures: list[ErasureSeen] = field(default_factory=list)
    """Requests to erase a customer; what the batch had of the customer before is left out."""

    def newest(self) -> datetime:
        """Return the time of the newest wish or profile, of which there is at least one."""
        of_wishes = (each.at for each in self.subscriptions)
        return max((*of_wishes, *(found.at for _, found in self.all_profiles)))

    def times(self) -> Iterator[tuple[str, datetime]]:
        """Return the customer and time of each event."""
        yield from ((each.customer_id, each.at) for each in self.money)
        yield from ((customer, found.at) for customer, (_, found) in self.profiles.items())
        yield from ((each.customer_id, each.at) for each in self.feedback)
        yield from ((each.customer_id, each.at) for each in self.subscriptions)

    def drop(self, customer_id: str) -> None:
        """Leave out what was seen of a customer so far."""
        self.purchases = [each for each in self.purchases if each[1] != customer_id]
        self.money = [each for each in self.money if each.customer_id != customer_id]
        self.profiles.pop(customer_id, None)
        self.feedback = [each for each in self.feedback if each.customer_id != customer_id]
        self.subscriptions = [s for s in self.subscriptions if s.customer_id != customer_id]
        self.all_profiles = [each for each in self.all_profiles if each[0] != customer_id]

    def drop_older(self, erased: Mapping[str, datetime]) -> None:
        """Leave out what is older than the erasure of its customer."""
        self.purchases = [p for p in self.purchases if p[1] not in erased or p[2] >= erased[p[1]]]
        self.money = _newer(self.money, erased)
        self.feedback = _newer(self.feedback, erased)
        self.subscriptions = _newer(self.subscriptions, erased)
        self.all_profiles = [
            (customer, found)
            for customer, found in self.all_profiles
            if customer not in erased or found.at >= erased[customer]
        ]
        for customer, at in erased.items():
            if customer in self.profiles and self.profiles[customer][1].at < at:
                del self.profiles[customer]


@dataclass(frozen=True, slots=True)
class TaskChange:
    """A task after a change to be sent, and the partition of the record that caused it."""

    task: Task
    tp: TopicPartition
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
