"""The customer state that alerts keeps between messages, and the steps of a decision.

It holds the values that `policy` works on and the rules by which the warned causes change. It
decides nothing about tasks.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from services.alerts.core.consent import LeftAlone
from services.alerts.core.signs import about_silence, ended_by_purchase
from shared.contracts.risk import Band, Grade
from shared.contracts.treatment import LeavingCause

NO_REVISION: Final = -1
"""Revision of a customer before the first assessment."""

CloseReason = Literal[
    "came_back", "resolved", "left_segment", "not_profiled", "do_not_contact",
    "verdict", "dismissed", "expired", "merged", "erased",
]  # fmt: skip
"""`resolved`: none of the signs that the task warned of holds any more; `left_segment`: the
customer is no longer in the segment that the task is about."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """What the policy needs to know of an open task."""

    id: str
    cause: str
    """The first cause; it names the task."""
    opened_at: datetime
    by_risk: bool = True
    """False: raised by the calendar or a segment. No purchase ends it, and it does not count
    towards the limits of tasks."""
    causes: tuple[str, ...] = ()
    """All causes that it warns of; a task by risk has at least one."""

    @property
    def ends_by_purchase(self) -> bool:
        """Whether a purchase ends all causes of the task."""
        return self.by_risk and all(ended_by_purchase(cause) for cause in self.causes)


class WarnedCause(msgspec.Struct, frozen=True, gc=False):
    """A cause that was raised, joined a task, or was held out."""

    cause: str
    at: datetime
    """Begin of its cooldown: when it was raised, or the owner's verdict after that."""
    armed: bool = False
    """Whether its sign has been absent since, so that it may be raised again."""


class CustomerState(msgspec.Struct, frozen=True, gc=False):
    """The state of a customer between messages. Each message makes a changed copy."""

    customer_id: str
    revision: int = NO_REVISION
    """This and the next five fields are those of the newest assessment read."""
    band: Band | None = None
    probability: float | None = None
    value_at_risk: float | None = None
    currency: str | None = None
    horizon_days: int | None = None
    grade: Grade | None = None
    """The newest known grade, from an assessment or a change of the grade."""
    warned: tuple[WarnedCause, ...] = ()
    """One per cause, sorted by the name of the cause."""
    ramp_until: datetime | None = None
    """No task before this time: the customer was at risk already at the first assessment."""
    recent: tuple[datetime, ...] = ()
    """When tasks were raised, or held out, within the policy's period."""
    episode: int = 0
    """Number of tasks raised, or held out, so far."""
    purchased_at: datetime | None = None
    """Newest live purchase, from either topic."""
    leaving_cause: LeavingCause | None = None
    """Why the customer leaves, from the newest verdict with such a cause."""
    leaving_at: datetime | None = None
    """When that verdict was given."""
    graded_at: datetime | None = None
    """Time of the newest change of the grade: older assessments contain an earlier grade."""
    life: int = 0
    """Above 0 for a customer who came back after an erasure: minutes from 1970 to the erasure."""
    do_not_contact_at: datetime | None = None
    """Time of the profile by which the customer must not be contacted; None: no such profile."""
    not_profiled_at: datetime | None = None
    """Time of the customer's refusal to be assessed; None: they may be."""
    open: tuple[OpenTask, ...] = ()

    @property
    def identity(self) -> str:
        """What the ids of tasks are made from: no task of a former life has the same id."""
        return f"{self.customer_id}\n{self.life}" if self.life else self.customer_id

    def of(self, cause: str) -> WarnedCause | None:
        """Return the warned cause of this name; None where it was never raised."""
        return next((each for each in self.warned if each.cause == cause), None)

    @property
    def left_alone(self) -> tuple[LeftAlone, datetime] | None:
        """The wish by which the customer has no task at all, and since when; None: no such wish."""
        if self.not_profiled_at is not None:
            return "not_profiled", self.not_profiled_at
        if self.do_not_contact_at is not None:
            return "do_not_contact", self.do_not_contact_at
        return None

    @property
    def at_risk(self) -> list[OpenTask]:
        """The open tasks that an assessment raised."""
        return [task for task in self.open if task.by_risk]

    @property
    def warned_of_silence(self) -> bool:
        """Whether the present silence was warned of already, by any cause about silence."""
        return any(about_silence(each.cause) and not each.armed for each in self.warned)


@dataclass(frozen=True, slots=True)
class Raised:
    """A new task."""

    task: OpenTask
    episode: int
    leaving: LeavingCause | None = None
    """Why the customer has left, as far as it is known; only of win-back tasks."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Further causes that join an open task."""

    customer_id: str
    task: OpenTask
    """The task after the causes have joined."""
    causes: tuple[str, ...]
    """The causes that join, the most urgent first."""
    at: datetime


@dataclass(frozen=True, slots=True)
class HeldOutTask:
    """A task that is not raised because the customer is held out."""

    task: OpenTask
    episode: int
    leaving: LeavingCause | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """An open task that ends."""

    task: OpenTask
    at: datetime
    reason: CloseReason


Step = Raised | Joined | HeldOutTask | Closed


def remembered(
    warned: tuple[WarnedCause, ...], causes: Iterable[str], at: datetime
) -> tuple[WarnedCause, ...]:
    """Return the warned causes once `causes` were raised at `at`."""
    made = {each.cause: each for each in warned} | {
        cause: WarnedCause(cause, at) for cause in causes
    }
    return tuple(made[cause] for cause in sorted(made))


def rearmed(
    warned: tuple[WarnedCause, ...], holding: AbstractSet[str], bought: datetime | None
) -> tuple[WarnedCause, ...]:
    """Return the warned causes after an assessment: causes that do not hold are armed again.

    A purchase later than the warning removes causes about silence: a customer who came back and
    stops again is warned about again, whatever the cooldown.
    """
    kept = [
        each
        for each in warned
        if bought is None or not about_silence(each.cause) or bought <= each.at
    ]
    made = tuple(
        each if each.armed or each.cause in holding else replace(each, armed=True) for each in kept
    )
    return warned if made == warned else made


def regraded(state: CustomerState, grade: Grade | None, at: datetime) -> CustomerState:
    """Return the customer after a change of the grade at `at`.

    `grade` None: the data support no grade any more, and the known grade stays.
    """
    if grade is None or (state.graded_at is not None and at < state.graded_at):
        return state
    return replace(state, grade=grade, graded_at=at)


def answered(
    state: CustomerState, causes: Iterable[str], at: datetime, leaving: LeavingCause | None
) -> CustomerState:
    """Return the customer after an owner's verdict at `at` on a task of these causes.

    Their cooldown counts from the verdict. `leaving`: why the customer leaves, if it is known.
    """
    made = {each.cause: each for each in state.warned}
    for cause in causes:
        before = made.get(cause, WarnedCause(cause, at, armed=True))
        made[cause] = replace(before, at=max(before.at, at))
    leaving_fields = {} if leaving is None else {"leaving_cause": leaving, "leaving_at": at}
    return replace(state, warned=tuple(made[cause] for cause in sorted(made)), **leaving_fields)
