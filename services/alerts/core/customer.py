"""What is remembered of a customer between messages, and the steps that decisions consist of.

What it is for: the values of `policy`, and the small laws of what is remembered. It decides
nothing about tasks.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from services.alerts.core.signs import about_silence, ended_by_purchase
from shared.contracts.risk import Band, Grade
from shared.contracts.treatment import LeavingCause

NO_REVISION: Final = -1
"""Revision of a customer of whom no assessment has been seen."""

CloseReason = Literal[
    "came_back", "resolved", "left_segment", "do_not_contact", "verdict", "dismissed", "expired",
    "merged", "erased",
]  # fmt: skip
"""`resolved`: none of the signs that it warned of holds any more; `left_segment`: the customer is
no longer in the segment that the task is about."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """What the policy needs to know of an open task."""

    id: str
    cause: str
    """The first; it names the task."""
    opened_at: datetime
    by_risk: bool = True
    """False: by the calendar or a segment. It ends by no purchase and is in nobody's way."""
    causes: tuple[str, ...] = ()
    """All that it warns of; of a task by risk at least one."""

    @property
    def ends_by_purchase(self) -> bool:
        """Whether all that it warns of is over once the customer buys."""
        return self.by_risk and all(ended_by_purchase(cause) for cause in self.causes)


class WarnedCause(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a cause that was raised, joined a task, or was held out."""

    cause: str
    at: datetime
    """Since when its cooldown counts: when it was raised, or the owner's verdict after that."""
    armed: bool = False
    """Whether its sign has been away since, so that it may be raised again."""


class CustomerState(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a customer between messages. Each message makes a changed copy."""

    customer_id: str
    revision: int = NO_REVISION
    """Of the newest assessment seen; so are the next five."""
    band: Band | None = None
    probability: float | None = None
    value_at_risk: float | None = None
    currency: str | None = None
    horizon_days: int | None = None
    grade: Grade | None = None
    """The newest that is known, from an assessment or a change of the grade."""
    warned: tuple[WarnedCause, ...] = ()
    """By cause, in the order of their names."""
    ramp_until: datetime | None = None
    """At risk since before we looked: no task before this time."""
    recent: tuple[datetime, ...] = ()
    """When tasks were raised, or held out, within the policy's period."""
    episode: int = 0
    """How many tasks were raised, or held out, so far."""
    purchased_at: datetime | None = None
    """Newest live purchase, from either topic."""
    leaving_cause: LeavingCause | None = None
    """Why the customer leaves, from the newest verdict that says so."""
    leaving_at: datetime | None = None
    """When that verdict was given."""
    graded_at: datetime | None = None
    """When the newest change of the grade happened: older assessments know an earlier one."""
    do_not_contact_at: datetime | None = None
    """When a profile said that the customer must not be contacted; None: nobody says so."""
    open: tuple[OpenTask, ...] = ()

    def of(self, cause: str) -> WarnedCause | None:
        """What is remembered of a cause."""
        return next((each for each in self.warned if each.cause == cause), None)

    @property
    def at_risk(self) -> list[OpenTask]:
        """The open tasks that an assessment raised."""
        return [task for task in self.open if task.by_risk]

    @property
    def warned_of_silence(self) -> bool:
        """Whether the present silence had its task already, of whichever cause."""
        return any(about_silence(each.cause) and not each.armed for each in self.warned)


@dataclass(frozen=True, slots=True)
class Raised:
    """A new task."""

    task: OpenTask
    episode: int
    leaving: LeavingCause | None = None
    """Why the customer has left, as far as it is known; of win-back tasks."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Further causes of an open task."""

    customer_id: str
    task: OpenTask
    """As it is then."""
    causes: tuple[str, ...]
    """Those that are raised by this, the most urgent first."""
    at: datetime


@dataclass(frozen=True, slots=True)
class HeldOutTask:
    """A task that would have been raised, had the customer not been left alone on purpose."""

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
    """What is remembered once these causes were raised at `at`."""
    made = {each.cause: each for each in warned} | {
        cause: WarnedCause(cause, at) for cause in causes
    }
    return tuple(made[cause] for cause in sorted(made))


def rearmed(
    warned: tuple[WarnedCause, ...], holding: AbstractSet[str], bought: datetime | None
) -> tuple[WarnedCause, ...]:
    """What is remembered after an assessment: causes that do not hold are armed again.

    After a purchase later than the warning, what was about silence is forgotten: a customer who
    came back and stops again is warned about again, whatever the cooldown.
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
    """The customer once the grade has changed at `at`; None: the data support none any more, and
    what was known stays."""
    if grade is None or (state.graded_at is not None and at < state.graded_at):
        return state
    return replace(state, grade=grade, graded_at=at)


def answered(
    state: CustomerState, causes: Iterable[str], at: datetime, leaving: LeavingCause | None
) -> CustomerState:
    """The customer once an owner has given a verdict at `at` on a task of these causes.

    Their cooldown counts from the verdict. `leaving`: why the customer leaves, if that was said.
    """
    made = {each.cause: each for each in state.warned}
    for cause in causes:
        before = made.get(cause, WarnedCause(cause, at, armed=True))
        made[cause] = replace(before, at=max(before.at, at))
    said = {} if leaving is None else {"leaving_cause": leaving, "leaving_at": at}
    return replace(state, warned=tuple(made[cause] for cause in sorted(made)), **said)
