"""Finds the causes that an assessment raises, or the row of the decision table if there are none.

This is the part of a decision that depends on the causes alone; `policy` decides whether they join
a task, raise one or are suppressed.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from services.alerts.core.conditions import Ruling, affordable, passes, worth_winning_back
from services.alerts.core.customer import CustomerState
from services.alerts.core.playbook import choose
from services.alerts.core.policy_document import Playbook, Policy
from services.alerts.core.signs import CHURNED, POLICY_RULE, about_silence, statistical
from services.alerts.core.task_cause import by_urgency, is_gone, suspected_leaving_cause
from services.alerts.core.uplift.served import CustomerEffect, ServedEffects, budget_value
from shared.contracts.risk import RiskAssessed
from shared.contracts.treatment import LeavingCause

Why = Literal[
    "stale", "ignored", "history", "no_sign", "gone", "below", "budget", "no_effect",
    "not_profiled", "do_not_contact", "not_armed", "cooldown", "joined", "limit", "ramp",
    "held_out", "raised",
]  # fmt: skip
"""The row of the decision table that applied; a label of the metrics."""


def holding_causes(message: RiskAssessed, ruled: Ruling | None) -> AbstractSet[str]:
    """Return the causes that hold, whether or not the policy raises them."""
    holding = {sign.code for sign in message.signs}
    if is_gone(message):
        holding.add(CHURNED)
    if ruled == "raise":
        holding.add(POLICY_RULE)
    return holding


@dataclass(frozen=True, slots=True)
class Withheld:
    """A task that is not raised because its playbook clearly does not help such a customer."""

    cause: str
    playbook: str
    effect: CustomerEffect


def causes_to_raise(
    state: CustomerState,
    message: RiskAssessed,
    policy: Policy,
    ruled: Ruling | None,
    effects: ServedEffects | None = None,
) -> tuple[Why, tuple[str, ...]]:
    """Return the row that applies as far as the causes decide it, and the causes to raise.

    `effects`: what the playbooks do for a customer; None: nothing was measured yet.
    """
    if ruled == "ignore":
        return "ignored", ()
    if message.onboarding and message.days_silent is not None and is_gone(message):
        return "history", ()
    why, causes = _passing(state, message, policy, ruled, effects)
    if not causes:
        return why, ()
    if state.left_alone is not None:
        return state.left_alone[0], ()
    why, ready = _ready(state, message, policy, causes)
    if not ready and ruled == "raise" and not state.at_risk:
        return _ready(state, message, policy, [POLICY_RULE])
    return why, ready


def withheld(
    state: CustomerState,
    message: RiskAssessed,
    policy: Policy,
    ruled: Ruling | None,
    effects: ServedEffects,
) -> Withheld | None:
    """Return the most urgent task that is withheld of an assessment, for the operator to see."""
    for cause in _candidates(state, message, policy, ruled):
        effect = _effect(state, message, policy, cause, effects)
        if effect is not None and effect.harms:
            return Withheld(cause, playbook_of(state, message, policy, cause).id, effect)
    return None


def budget_value_of(
    state: CustomerState,
    message: RiskAssessed,
    policy: Policy,
    cause: str,
    effects: ServedEffects | None,
) -> float:
    """Return the value by which the budget ranks a customer for a cause, reporting currency."""
    if effects is None:
        return message.expected_value
    return budget_value(message, playbook_of(state, message, policy, cause), effects)


def playbook_of(
    state: CustomerState, message: RiskAssessed, policy: Policy, cause: str
) -> Playbook:
    """Return the playbook that a task of this cause would have."""
    why = leaving_cause(state, message) if cause == CHURNED else None
    return choose(policy, message.standing, cause, why)


def leaving_cause(state: CustomerState, message: RiskAssessed) -> LeavingCause | None:
    """Return why the customer has left; a verdict before the last purchase no longer counts."""
    stated_at, bought = state.leaving_at, message.last_purchase_at
    current = stated_at is not None and (bought is None or bought <= stated_at)
    return suspected_leaving_cause(message, state.leaving_cause if current else None)


def _passing(
    state: CustomerState,
    message: RiskAssessed,
    policy: Policy,
    ruled: Ruling | None,
    effects: ServedEffects | None,
) -> tuple[Why, list[str]]:
    """Return the causes that the policy would raise, most urgent first; or why there are none."""
    passing = _candidates(state, message, policy, ruled)
    if ruled == "raise":
        return "raised", passing
    helped = [
        cause
        for cause in passing
        for effect in (_effect(state, message, policy, cause, effects),)
        if effect is None or not effect.harms
    ]
    found = [
        cause
        for cause in helped
        if affordable(cause, budget_value_of(state, message, policy, cause, effects), policy)
    ]
    if found:
        return "raised", found
    if passing:
        return ("budget" if helped else "no_effect"), []
    gone = is_gone(message)
    if any(not (gone and statistical(sign.code)) for sign in message.signs):
        return "below", []
    return ("gone" if gone else "no_sign"), []


def _candidates(
    state: CustomerState, message: RiskAssessed, policy: Policy, ruled: Ruling | None
) -> list[str]:
    """Return the causes that pass, whatever a task costs or brings; most urgent first."""
    signs = by_urgency(message)
    if ruled == "raise":
        return [sign.code for sign in signs] or [POLICY_RULE]
    gone = is_gone(message)
    live = [sign for sign in signs if not (gone and statistical(sign.code))]
    passing = [sign.code for sign in live if passes(sign, message, policy)]
    if gone and not state.warned_of_silence and worth_winning_back(message, policy):
        passing.append(CHURNED)
    return passing


def _effect(
    state: CustomerState,
    message: RiskAssessed,
    policy: Policy,
    cause: str,
    effects: ServedEffects | None,
) -> CustomerEffect | None:
    """Return the measured effect of a task of this cause; None for statements: they raise one."""
    if effects is None or not statistical(cause):
        return None
    return effects.of(message.feature_row, playbook_of(state, message, policy, cause).id)


def _ready(
    state: CustomerState, message: RiskAssessed, policy: Policy, causes: list[str]
) -> tuple[Why, tuple[str, ...]]:
    """Return the causes that may be raised again; or why there are none."""
    armed = [cause for cause in causes if _armed(state, cause)]
    if not armed:
        return "not_armed", ()
    cooled = tuple(cause for cause in armed if _cooldown_over(state, message, policy, cause))
    return ("raised", cooled) if cooled else ("cooldown", ())


def _armed(state: CustomerState, cause: str) -> bool:
    if about_silence(cause):
        return not state.warned_of_silence
    known = state.of(cause)
    return known is None or known.armed


def _cooldown_over(state: CustomerState, message: RiskAssessed, policy: Policy, cause: str) -> bool:
    known = state.of(cause)
    return known is None or message.assessed_at - known.at >= policy.cooldown(cause)
