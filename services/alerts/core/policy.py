"""Who is to be warned about: from an assessment and what we know, to raise, close or nothing.

What it is for: the one place that decides about retention tasks. Time is business time and
comes with the message; the wall clock has no say. It never writes, sends or words anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeGuard

import msgspec
from msgspec.structs import replace

from services.alerts.core.causes import CHURNED, cause_of, is_gone
from services.alerts.core.conditions import wants
from services.alerts.core.document import TRAITS, Policy
from services.alerts.core.holdout import held_out
from services.alerts.core.ids import draw, stable_id, task_id
from shared.contracts.risk import Band, Grade, RiskAssessed

__all__ = [
    "NO_REVISION", "TRAITS", "CloseReason", "Closed", "CustomerState", "Decision", "HeldOut",
    "OpenTask", "Policy", "Raised", "Step", "Why", "came_back", "decide", "first_seen", "purchased",
    "settle", "stable_id", "task_id",
]  # fmt: skip

NO_REVISION: Final = -1
"""Revision of a customer of whom no assessment has been seen."""

CloseReason = Literal[
    "came_back", "do_not_contact", "verdict", "dismissed", "expired", "merged", "erased"
]
Why = Literal[
    "stale", "ignored", "below", "win_back", "unchanged", "not_armed", "do_not_contact",
    "cooldown", "limit", "ramp", "held_out", "raised",
]  # fmt: skip
"""Which row of the decision table applied; a label of the metrics."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """What the policy needs to know of an open task."""

    id: str
    cause: str
    opened_at: datetime
    by_risk: bool = True
    """False: by the calendar or a segment. It ends by no purchase and is in nobody's way."""


class CustomerState(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a customer between messages. Each message makes a changed copy."""

    customer_id: str
    revision: int = NO_REVISION
    """Of the newest assessment seen."""
    band: Band | None = None
    probability: float | None = None
    """Of the newest assessment seen."""
    grade: Grade | None = None
    """As of the newest assessment that knew one."""
    armed: bool = True
    """False from a task on until the band falls below `band_raise`."""
    ramp_until: datetime | None = None
    """At risk since before we looked: no task before this time."""
    raised_at: datetime | None = None
    """When the last task was raised, or held out."""
    recent: tuple[datetime, ...] = ()
    """When tasks were raised, or held out, within the policy's period."""
    win_back_at: datetime | None = None
    """When the last win-back task was raised, or held out."""
    episode: int = 0
    """How many tasks were raised, or held out, so far."""
    purchased_at: datetime | None = None
    """Newest live purchase, from either topic."""
    do_not_contact_at: datetime | None = None
    """When a profile said that the customer must not be contacted; None: nobody says so."""
    open: tuple[OpenTask, ...] = ()


@dataclass(frozen=True, slots=True)
class Raised:
    """A new task."""

    task: OpenTask
    episode: int


@dataclass(frozen=True, slots=True)
class Closed:
    """An open task that ends."""

    task: OpenTask
    at: datetime
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A task that would have been raised, had the customer not been left alone on purpose."""

    task: OpenTask
    episode: int


Step = Raised | HeldOut | Closed


@dataclass(frozen=True, slots=True)
class Decision:
    """The state from now on, and what is to be done, in order."""

    state: CustomerState
    steps: tuple[Step, ...]
    why: Why


def decide(state: CustomerState, message: RiskAssessed, policy: Policy) -> Decision:
    """What an assessment leads to. Rows are tried from the top; the first that holds decides.

    | the assessment                                              | why            | armed | ramp |
    |-------------------------------------------------------------|----------------|-------|------|
    | is not newer than the newest seen                           | stale          |       |      |
    | is one that a rule ignores                                  | ignored        |       |      |
    | is below the band, and no rule raises it                    | below          | yes   | none |
    | silent beyond the horizon (or never bought): win-back's job | win_back       |       |      |
    | no reason but traits: the customer behaves as ever          | unchanged      |       |      |
    | band has not been below since the last task                 | not_armed      |       |      |
    | the customer must not be contacted                          | do_not_contact |       |      |
    | fewer than `cooldown_days` since the last task              | cooldown       |       |      |
    | `open_tasks_max` are open, or one of the same cause, or     |                |       |      |
    | `tasks_max` were raised within the period                   | limit          |       |      |
    | first look after a backfill, or its ramp day is not reached | ramp           |       | set  |
    | the customer is one of those left alone                     | held_out       | no    | none |
    | otherwise                                                   | raised         | no    | none |

    Where the policy wins back, the row `win_back` lets one task through for each time that a
    customer left; it need not be armed, all other rows hold.

    Before any row but the first, open tasks end that `settle` ends. A task raised on an
    assessment older than the customer's newest purchase is raised and ends at once: which
    tasks exist depends on the assessments alone, not on which topic was read first.
    """
    if message.revision <= state.revision:
        return Decision(state, (), "stale")
    seen = replace(
        state,
        revision=message.revision,
        band=message.band,
        probability=message.probability,
        grade=_grade(message) or state.grade,
        purchased_at=_latest(state.purchased_at, message.last_purchase_at),
    )
    seen, ended = settle(seen)
    why, cause = _why(seen, message, policy, state.probability)
    if why == "below":
        if not seen.armed or seen.ramp_until is not None:
            seen = replace(seen, armed=True, ramp_until=None)
    elif why == "ramp" and seen.ramp_until is None:
        seen = replace(seen, ramp_until=_ramp_until(message, policy))
        if _ramp_over(seen, message):
            why = "raised"
    if why != "raised" or cause is None:
        return Decision(seen, ended, why)
    number = task_id(seen.customer_id, cause, seen.episode + 1)
    task = OpenTask(number, cause, message.assessed_at)
    if held_out(message, policy):
        left = HeldOut(task, seen.episode + 1)
        return Decision(_after(seen, task, policy, ()), (*ended, left), "held_out")
    raised = Raised(task, seen.episode + 1)
    after, overtaken = settle(_after(seen, task, policy, (*seen.open, task)))
    return Decision(after, (*ended, raised, *overtaken), "raised")


def settle(state: CustomerState) -> tuple[CustomerState, tuple[Closed, ...]]:
    """End the open tasks that have no object any more, at the newest purchase known.

    The customer bought after the task was opened, or must not be contacted any more.
    """
    return _settle(state, state.purchased_at)


def purchased(state: CustomerState, at: datetime) -> tuple[CustomerState, tuple[Closed, ...]]:
    """A live purchase happened at `at`, in any order with the others.

    It ends the tasks opened before it, also where the state knows a newer one already.
    """
    return _settle(replace(state, purchased_at=_latest(state.purchased_at, at)), at)


def came_back(step: Step) -> TypeGuard[Closed]:
    """Whether a task ends by a purchase."""
    return isinstance(step, Closed) and step.reason == "came_back"


def first_seen(step: Step, purchases: Iterable[datetime]) -> Step:
    """The step; a task that a purchase ends does so at the first after its opening, of those known.

    A state knows only the newest: a task raised behind the log would seem to end at that one.
    """
    if not came_back(step):
        return step
    after = [at for at in purchases if at > step.task.opened_at]
    return Closed(step.task, min(after, default=step.at), step.reason)


def _settle(
    state: CustomerState, bought: datetime | None
) -> tuple[CustomerState, tuple[Closed, ...]]:
    ended = tuple(
        closed for task in state.open if (closed := _closed(state, task, bought)) is not None
    )
    gone = {closed.task.id for closed in ended}
    if not gone:
        return state, ()
    return replace(state, open=tuple(t for t in state.open if t.id not in gone)), ended


def _why(
    state: CustomerState, message: RiskAssessed, policy: Policy, before: float | None
) -> tuple[Why, str | None]:
    """The row that applies, and the cause of the task where one is raised."""
    wanted = wants(message, before, policy)
    if wanted is None:
        return "ignored", None
    if not wanted:
        return "below", None
    gone = is_gone(message)
    cause = CHURNED if gone else cause_of(message, policy)
    if gone and not _may_win_back(state, message, policy):
        return "win_back", None
    if cause is None:
        return "unchanged", None
    if not gone and not state.armed:
        return "not_armed", None
    if state.do_not_contact_at is not None:
        return "do_not_contact", None
    return _when(state, message, policy, cause), cause


def _may_win_back(state: CustomerState, message: RiskAssessed, policy: Policy) -> bool:
    within = policy.win_back_within_days
    if within is None or message.days_silent is None or message.days_silent > within:
        return False
    last, bought = state.win_back_at, state.purchased_at
    return last is None or (bought is not None and bought > last)


def _after(
    state: CustomerState, task: OpenTask, policy: Policy, open_tasks: tuple[OpenTask, ...]
) -> CustomerState:
    """The customer once a task was raised or held out."""
    since = task.opened_at - timedelta(days=policy.tasks_period_days)
    kept = tuple(at for at in state.recent if at > since)
    return replace(
        state,
        armed=False,
        ramp_until=None,
        raised_at=task.opened_at,
        recent=(*kept, task.opened_at) if policy.tasks_max is not None else (),
        win_back_at=task.opened_at if task.cause == CHURNED else state.win_back_at,
        episode=state.episode + 1,
        open=open_tasks or state.open,
    )


def _when(state: CustomerState, message: RiskAssessed, policy: Policy, cause: str) -> Why:
    cooldown = timedelta(days=policy.cooldown_days)
    if state.raised_at is not None and message.assessed_at - state.raised_at < cooldown:
        return "cooldown"
    at_risk = [task for task in state.open if task.by_risk]
    causes = {task.cause for task in at_risk}
    since = message.assessed_at - timedelta(days=policy.tasks_period_days)
    recent = sum(at > since for at in state.recent)
    many = policy.tasks_max is not None and recent >= policy.tasks_max
    if many or len(at_risk) >= policy.open_tasks_max or cause in causes:
        return "limit"
    waiting = state.ramp_until is not None and not _ramp_over(state, message)
    if waiting or (message.onboarding and state.ramp_until is None):
        return "ramp"
    return "raised"


def _grade(message: RiskAssessed) -> Grade | None:
    return None if message.standing is None else message.standing.grade


def _ramp_until(message: RiskAssessed, policy: Policy) -> datetime:
    days = draw(b"ramp", message.customer_id) % policy.ramp_days if policy.ramp_days else 0
    return message.assessed_at + timedelta(days=days)


def _ramp_over(state: CustomerState, message: RiskAssessed) -> bool:
    return state.ramp_until is not None and message.assessed_at >= state.ramp_until


def _closed(state: CustomerState, task: OpenTask, bought: datetime | None) -> Closed | None:
    if task.by_risk and bought is not None and bought > task.opened_at:
        return Closed(task, bought, "came_back")
    if state.do_not_contact_at is not None:
        return Closed(task, max(task.opened_at, state.do_not_contact_at), "do_not_contact")
    return None


def _latest(a: datetime | None, b: datetime | None) -> datetime | None:
    if a is None or b is None:
        return b if a is None else a
    return max(a, b)
