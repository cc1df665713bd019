"""Decides on each assessment whether to raise a task, join or close one, or do nothing.

All decisions about retention tasks are made here. Time is business time and comes with the
message, never from the wall clock. It never writes, sends or words anything.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeGuard

from msgspec.structs import replace

from services.alerts.core.conditions import ruling
from services.alerts.core.customer import (
    NO_REVISION,
    Closed,
    CloseReason,
    CustomerState,
    HeldOutTask,
    Joined,
    OpenTask,
    Raised,
    Step,
    WarnedCause,
    answered,
    rearmed,
    remembered,
)
from services.alerts.core.holdout import held_out
from services.alerts.core.ids import draw, stable_id, task_id
from services.alerts.core.policy_document import TRAITS, Policy
from services.alerts.core.raised_causes import (
    Why,
    Withheld,
    causes_to_raise,
    holding_causes,
    leaving_cause,
    withheld,
)
from services.alerts.core.signs import CHURNED, POLICY_RULE, statistical
from services.alerts.core.task_cause import is_gone, leading
from services.alerts.core.uplift.served import ServedEffects
from shared.contracts.risk import Grade, RiskAssessed

__all__ = [
    "NO_REVISION", "TRAITS", "CloseReason", "Closed", "CustomerState", "Decision", "HeldOutTask",
    "Joined", "OpenTask", "Policy", "Raised", "Step", "WarnedCause", "Why", "answered", "came_back",
    "closed_at_first_purchase", "decide", "end_objectless", "purchased", "stable_id", "task_id",
]  # fmt: skip

_NOTHING_PASSES: Final = frozenset({"no_sign", "gone", "below", "budget", "no_effect"})


@dataclass(frozen=True, slots=True)
class Decision:
    """The new customer state, and the steps to carry out, in order."""

    state: CustomerState
    steps: tuple[Step, ...]
    why: Why
    withheld: Withheld | None = None
    """The task that `no_effect` withholds."""


def decide(
    state: CustomerState,
    message: RiskAssessed,
    policy: Policy,
    effects: ServedEffects | None = None,
) -> Decision:
    """Return the decision on an assessment: rows are tried from the top, the first that holds wins.

    | the assessment                                                      | why            |
    |---------------------------------------------------------------------|----------------|
    | is not newer than the newest seen                                   | stale          |
    | is one that a rule ignores                                          | ignored        |
    | first one after a backfill, and the lapse was complete before it    | history        |
    | no sign holds, and no rule raises                                   | no_sign        |
    | silent for the lapse length, and won back already, or not to be     | gone           |
    | signs hold, but the policy asks more of each                        | below          |
    | the playbook clearly does not help customers like this              | no_effect      |
    | what passes is of a customer worth less than the budget asks        | budget         |
    | the customer does not want to be assessed                           | not_profiled   |
    | the customer must not be contacted                                  | do_not_contact |
    | no cause has been away since it was raised, or the silence had its  |                |
    | task                                                                | not_armed      |
    | fewer than `cooldown_days` since the cause was raised, or a verdict | cooldown       |
    | `open_tasks_max` are open: the causes join one of them              | joined         |
    | `tasks_max` were raised within the period                           | limit          |
    | first one after a backfill, or its ramp day is not reached          | ramp           |
    | the customer is held out                                            | held_out       |
    | otherwise                                                           | raised         |

    `effects`: what was measured of playbooks; asked about statistical signs and win-back only.

    A rule that raises lets every sign pass. Where none holds, or none may be raised and no task
    is open, the rule raises a task of its own, and no further one until it has not held for an
    assessment. For a customer who is gone, only statements of the customer or a contract count,
    and win-back (`churned`): one task for a silence that had none.

    Before any row but the first, open tasks end if they have no object any more
    (`end_objectless`) or if none of their causes holds (`resolved`). A task raised on an assessment
    older than the customer's newest purchase is raised and ends at once: the warnings and their
    times depend on the assessments alone, not on which topic was read first.
    """
    if message.revision <= state.revision:
        return Decision(state, (), "stale")
    ruled = ruling(message, state.probability, policy)
    holding = holding_causes(message, ruled)
    seen, ended = _end_causeless(_noted(state, message, holding), message, holding)
    why, causes = causes_to_raise(seen, message, policy, ruled, effects)
    if why in _NOTHING_PASSES and seen.ramp_until is not None:
        seen = replace(seen, ramp_until=None)
    if why == "history":
        seen = replace(seen, warned=remembered(seen.warned, holding, message.assessed_at))
    steps: tuple[Step, ...] = ()
    if why == "raised":
        seen, why, steps = _carry_out(seen, message, policy, causes)
    if ruled == "raise" and (steps or seen.at_risk):
        seen = _served(seen, message)
    spared = None
    if why == "no_effect" and effects is not None:
        spared = withheld(seen, message, policy, ruled, effects)
    return Decision(seen, (*ended, *steps), why, spared)


def end_objectless(state: CustomerState) -> tuple[CustomerState, tuple[Closed, ...]]:
    """End the open tasks that have no object any more, at the newest purchase known.

    These are tasks that a purchase ends, where the customer bought after they were opened; and all
    tasks of a customer who must not be contacted, or does not want to be assessed, any more.
    """
    return _end(state, state.purchased_at)


def purchased(state: CustomerState, at: datetime) -> tuple[CustomerState, tuple[Closed, ...]]:
    """Record a live purchase at `at`; purchases may come in any order.

    It ends the tasks about silence opened before it, also where the state knows a newer purchase.
    """
    return _end(replace(state, purchased_at=_latest(state.purchased_at, at)), at)


def came_back(step: Step) -> TypeGuard[Closed]:
    """Return whether the step ends a task because of a purchase."""
    return isinstance(step, Closed) and step.reason == "came_back"


def closed_at_first_purchase(step: Step, purchases: Iterable[datetime]) -> Step:
    """Return the step; a task that a purchase ends is closed at the first known one after opening.

    The state knows only the newest purchase: a task raised on an assessment that was read late
    would seem to end at that one.
    """
    if not came_back(step):
        return step
    after = [at for at in purchases if at > step.task.opened_at]
    return Closed(step.task, min(after, default=step.at), step.reason)


def _noted(state: CustomerState, message: RiskAssessed, holding: AbstractSet[str]) -> CustomerState:
    return replace(
        state,
        revision=message.revision,
        band=message.band,
        probability=message.probability,
        value_at_risk=message.value_at_risk,
        currency=message.currency,
        horizon_days=message.horizon_days,
        grade=_grade(message, state.graded_at) or state.grade,
        # Armed by the purchases that the assessment knows, not by those of the activity topic,
        # which may have been read earlier.
        warned=rearmed(state.warned, holding, message.last_purchase_at),
        purchased_at=_latest(state.purchased_at, message.last_purchase_at),
    )


def _end_causeless(
    state: CustomerState, message: RiskAssessed, holding: AbstractSet[str]
) -> tuple[CustomerState, tuple[Closed, ...]]:
    """End the open tasks without an object, then those of which no cause holds any more."""
    state, ended = end_objectless(state)
    lapsed = message.days_silent is not None and message.lapse is not None and is_gone(message)
    over = {
        task.id: Closed(task, max(task.opened_at, message.assessed_at), "resolved")
        for task in state.open
        if task.by_risk
        and POLICY_RULE not in task.causes
        and holding.isdisjoint(task.causes)
        # For a customer who is gone, an absent statistical sign is no recovery: there is nothing
        # to measure.
        and not (lapsed and any(statistical(cause) for cause in task.causes))
    }
    if not over:
        return state, ended
    left = tuple(task for task in state.open if task.id not in over)
    return replace(state, open=left), (*ended, *over.values())


def _end(state: CustomerState, bought: datetime | None) -> tuple[CustomerState, tuple[Closed, ...]]:
    ended = tuple(
        closed for task in state.open if (closed := _closed(state, task, bought)) is not None
    )
    gone = {closed.task.id for closed in ended}
    if not gone:
        return state, ()
    return replace(state, open=tuple(t for t in state.open if t.id not in gone)), ended


def _carry_out(
    state: CustomerState, message: RiskAssessed, policy: Policy, causes: tuple[str, ...]
) -> tuple[CustomerState, Why, tuple[Step, ...]]:
    """Let the causes join open tasks, and raise a task of the others."""
    state, joins, rest = _join(state, message, policy, causes)
    if not rest:
        return state, "joined", joins
    label = leading(message, policy) if rest == (POLICY_RULE,) else rest[0]
    state, why, steps = _raise(state, message, policy, label, rest)
    return state, "joined" if joins and not steps else why, (*joins, *steps)


def _served(state: CustomerState, message: RiskAssessed) -> CustomerState:
    """Record that a rule asked for a task of this customer and has one."""
    known = state.of(POLICY_RULE)
    if known is not None and not known.armed:
        return state
    warned = remembered(state.warned, (POLICY_RULE,), message.assessed_at)
    return replace(state, warned=warned)


def _join(
    state: CustomerState, message: RiskAssessed, policy: Policy, causes: tuple[str, ...]
) -> tuple[CustomerState, tuple[Joined, ...], tuple[str, ...]]:
    """Let causes join open tasks; return what joined, and the causes that need a new task.

    A cause joins the open task that already has it among its causes, or as its leading cause. The
    others join the newest open task where no further task may be opened.
    """
    at_risk = state.at_risk
    home = {cause: task.id for task in at_risk for cause in (*task.causes, task.cause)}
    rest = tuple(cause for cause in causes if cause not in home)
    if rest and len(at_risk) >= policy.open_tasks_max:
        newest = max(at_risk, key=lambda task: (task.opened_at, task.id))
        home |= dict.fromkeys(rest, newest.id)
        rest = ()
    joins = []
    for task in at_risk:
        new = tuple(cause for cause in causes if home.get(cause) == task.id)
        if new:
            grown = tuple(dict.fromkeys((*task.causes, *new)))
            after = OpenTask(task.id, task.cause, task.opened_at, causes=grown)
            at = max(task.opened_at, message.assessed_at)
            joins.append(Joined(state.customer_id, after, new, at))
    if not joins:
        return state, (), rest
    changed = {each.task.id: each.task for each in joins}
    raised = [cause for each in joins for cause in each.causes]
    state = replace(
        state,
        warned=remembered(state.warned, raised, message.assessed_at),
        open=tuple(changed.get(task.id, task) for task in state.open),
    )
    return state, tuple(joins), rest


def _raise(
    state: CustomerState,
    message: RiskAssessed,
    policy: Policy,
    label: str,
    causes: tuple[str, ...],
) -> tuple[CustomerState, Why, tuple[Step, ...]]:
    """Raise a task of these causes unless the limits, the ramp or the holdout prevent it."""
    why = _when(state, message, policy)
    if why == "ramp" and state.ramp_until is None:
        state = replace(state, ramp_until=_ramp_until(message, policy))
        if _ramp_over(state, message):
            why = "raised"
    if why != "raised":
        return state, why, ()
    at, episode = message.assessed_at, state.episode + 1
    task = OpenTask(task_id(state.identity, label, episode), label, at, causes=causes)
    leaving = leaving_cause(state, message) if label == CHURNED else None
    if held_out(message, policy):
        return _after(state, task, policy), "held_out", (HeldOutTask(task, episode, leaving),)
    after = _after(state, task, policy)
    after, overtaken = end_objectless(replace(after, open=(*state.open, task)))
    return after, "raised", (Raised(task, episode, leaving), *overtaken)


def _after(state: CustomerState, task: OpenTask, policy: Policy) -> CustomerState:
    """Return the customer after a task was raised or held out."""
    since = task.opened_at - timedelta(days=policy.tasks_period_days)
    kept = tuple(at for at in state.recent if at > since)
    return replace(
        state,
        warned=remembered(state.warned, task.causes, task.opened_at),
        ramp_until=None,
        recent=(*kept, task.opened_at) if policy.tasks_max is not None else (),
        episode=state.episode + 1,
    )


def _when(state: CustomerState, message: RiskAssessed, policy: Policy) -> Why:
    since = message.assessed_at - timedelta(days=policy.tasks_period_days)
    recent = sum(at > since for at in state.recent)
    if policy.tasks_max is not None and recent >= policy.tasks_max:
        return "limit"
    waiting = state.ramp_until is not None and not _ramp_over(state, message)
    if waiting or (message.onboarding and state.ramp_until is None):
        return "ramp"
    return "raised"


def _grade(message: RiskAssessed, since: datetime | None) -> Grade | None:
    """Return the grade of an assessment; None where it has changed after the assessment."""
    if message.standing is None or (since is not None and message.assessed_at < since):
        return None
    return message.standing.grade


def _ramp_until(message: RiskAssessed, policy: Policy) -> datetime:
    days = draw(b"ramp", message.customer_id) % policy.ramp_days if policy.ramp_days else 0
    return message.assessed_at + timedelta(days=days)


def _ramp_over(state: CustomerState, message: RiskAssessed) -> bool:
    return state.ramp_until is not None and message.assessed_at >= state.ramp_until


def _closed(state: CustomerState, task: OpenTask, bought: datetime | None) -> Closed | None:
    if task.ends_by_purchase and bought is not None and bought > task.opened_at:
        return Closed(task, bought, "came_back")
    if state.left_alone is not None:
        wish, since = state.left_alone
        return Closed(task, max(task.opened_at, since), wish)
    return None


def _latest(a: datetime | None, b: datetime | None) -> datetime | None:
    if a is None or b is None:
        return b if a is None else a
    return max(a, b)
