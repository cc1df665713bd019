"""Evaluates the conditions of the policy on an assessment.

It defines the meaning of `policy_document.Condition`, `SignPolicy` and `WinBack`, and which rule
decides. A condition on something that is not known of the customer does not hold.
"""

from collections.abc import Sequence
from typing import Literal

from services.alerts.core.policy_document import Condition, Policy, SignPolicy
from services.alerts.core.signs import statistical
from shared.contracts.risk import Classification, RiskAssessed, Sign

UNKNOWN = Classification()
Ruling = Literal["raise", "ignore"]


def ruling(message: RiskAssessed, before: float | None, policy: Policy) -> Ruling | None:
    """Return the ruling of the first rule that holds; None where none does.

    `before` is the probability of the assessment before, None for the first.
    """
    return next((rule.then for rule in policy.rules if holds(rule.when, message, before)), None)


def passes(sign: Sign, message: RiskAssessed, policy: Policy) -> bool:
    """Return whether the policy lets a sign raise a task, apart from the budget."""
    rule, classification = policy.sign(sign.code), message.standing or UNKNOWN
    return (
        rule.enabled
        and _within(sign.strength, rule.strength_min, None)
        and _long_enough(message, rule)
        and one_of(classification.grade, rule.grades)
        and one_of(classification.tier, rule.tiers)
        and _within(message.value_at_risk, rule.value_at_risk_min, None)
    )


def _long_enough(message: RiskAssessed, rule: SignPolicy) -> bool:
    """Return whether the silence has reached its least share, or leaves few enough days."""
    lapse, silent, days_left = message.lapse, message.days_silent, rule.days_left_max
    few = (
        days_left is not None
        and lapse is not None
        and silent is not None
        and lapse.days - silent <= days_left
    )
    return few or _within(lapse_share(message), rule.lapse_share_min, None)


def affordable(cause: str, value: float, policy: Policy) -> bool:
    """Return whether the budget of warnings leaves room for a cause of a customer of this value.

    The value follows from the expected value: the value at risk grows with the silence and would
    delay warnings.
    """
    return not statistical(cause) or _within(value, policy.budget.expected_value_min, None)


def worth_winning_back(message: RiskAssessed, policy: Policy) -> bool:
    """Return whether a customer who is gone is to be won back now, apart from the budget."""
    rule, lapse, silent = policy.win_back, message.lapse, message.days_silent
    if rule is None or lapse is None or silent is None:
        return False
    classification = message.standing or UNKNOWN
    return (
        lapse.days <= silent <= lapse.days + rule.within_days
        and one_of(classification.grade, rule.grades)
        and one_of(classification.tier, rule.tiers)
        and _within(message.value_at_risk, rule.value_at_risk_min, None)
    )


def lapse_share(message: RiskAssessed) -> float | None:
    """Return the present silence as a share of the lapse length; None where either is unknown."""
    if message.lapse is None or message.days_silent is None:
        return None
    return message.days_silent / message.lapse.days


def holds(when: Condition, message: RiskAssessed, before: float | None) -> bool:
    """Return whether all parts of the condition hold."""
    classification = message.standing or UNKNOWN
    return (
        one_of(message.band, when.bands)
        and one_of(classification.grade, when.grades)
        and one_of(classification.tier, when.tiers)
        and one_of(classification.lifecycle, when.lifecycles)
        and meets(classification.segments, when.segments_any)
        and not set(classification.segments) & set(when.segments_none)
        and meets(classification.needs, when.needs_any)
        and meets(_codes(message), when.reasons_any)
        and _numbers_hold(when, message, before)
    )


def one_of(value: str | None, accepted: Sequence[str]) -> bool:
    """Return whether `value` is in `accepted`; an empty list accepts every value."""
    return not accepted or value in accepted


def meets(values: Sequence[str], accepted: Sequence[str]) -> bool:
    """Return whether one of `values` is in `accepted`; an empty list accepts all values."""
    return not accepted or not set(values).isdisjoint(accepted)


def _codes(message: RiskAssessed) -> list[str]:
    return [sign.code for sign in message.signs] + [reason.code for reason in message.reasons]


def _numbers_hold(when: Condition, message: RiskAssessed, before: float | None) -> bool:
    rise = 0.0 if before is None else message.probability - before
    return (
        _within(message.probability, when.probability_min, when.probability_max)
        and _within(rise, when.rise_min, None)
        and _within(message.value_at_risk, when.value_at_risk_min, None)
        and _within(message.days_silent, when.days_silent_min, when.days_silent_max)
    )


def _within(value: float | None, least: float | None, most: float | None) -> bool:
    if value is None:
        return least is None and most is None
    return (least is None or value >= least) and (most is None or value <= most)
