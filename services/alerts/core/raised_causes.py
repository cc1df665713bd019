"""Finds the causes that an assessment raises, or the row of the decision table if there are none.

This is the part of a decision that depends on the causes alone; `policy` decides whether they join
a task, raise one or are suppressed.
"""

from collections.abc import Set as AbstractSet
from typing import Literal

from services.alerts.core.conditions import Ruling, affordable, passes, worth_winning_back
from services.alerts.core.customer import CustomerState
from services.alerts.core.policy_document import Policy
from services.alerts.core.signs import CHURNED, POLICY_RULE, about_silence, statistical
from services.alerts.core.task_cause import by_urgency, is_gone
from shared.contracts.risk import RiskAssessed

Why = Literal[
    "stale", "ignored", "history", "no_sign", "gone", "below", "budget", "do_not_contact",
    "not_armed", "cooldown", "joined", "limit", "ramp", "held_out", "raised",
]  # fmt: skip
"""The row of the decision table that applied; a label of the metrics."""


def held(message: RiskAssessed, ruled: Ruling | None) -> AbstractSet[str]:
    """Return the causes that hold, whether or not the policy raises them."""
    holding = {sign.code for sign in message.signs}
    if is_gone(message):
        holding.add(CHURNED)
    if ruled == "raise":
        holding.add(POLICY_RULE)
    return holding


def causes_to_raise(
    state: CustomerState, message: RiskAssessed, policy: Policy, ruled: Ruling | None
) -> tuple[Why, tuple[str, ...]]:
    """Return the row that applies as far as the causes decide it, and the causes to raise."""
    if ruled == "ignore":
        return "ignored", ()
    if message.onboarding and message.days_silent is not None and is_gone(message):
        return "history", ()
    why, causes = _passing(state, message, policy, ruled)
    if not causes:
        return why, ()
    if state.do_not_contact_at is not None:
        return "do_not_contact", ()
    why, ready = _ready(state, message, policy, causes)
    if not ready and ruled == "raise" and not state.at_risk:
        return _ready(state, message, policy, [POLICY_RULE])
    return why, ready


def _passing(
    state: CustomerState, message: RiskAssessed, policy: Policy, ruled: Ruling | None
) -> tuple[Why, list[str]]:
    """Return the causes that the policy would raise, most urgent first; or why there are none."""
    signs = by_urgency(message)
    if ruled == "raise":
        return "raised", [sign.code for sign in signs] or [POLICY_RULE]
    gone = is_gone(message)
    live = [sign for sign in signs if not (gone and statistical(sign.code))]
    passing = [sign.code for sign in live if passes(sign, message, policy)]
    if gone and not state.warned_of_silence and worth_winning_back(message, policy):
        passing.append(CHURNED)
    found = [cause for cause in passing if affordable(cause, message, policy)]
    if found:
        return "raised", found
    if passing:
        return "budget", []
    if live:
        return "below", []
    return ("gone" if gone else "no_sign"), []


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
