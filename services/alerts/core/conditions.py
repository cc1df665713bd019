"""Whether a condition of the policy holds for an assessment.

What it is for: the meaning of `document.Condition`, and which rule decides. Where the standing
of a customer is not known, a condition that asks for it does not hold.
"""

from collections.abc import Sequence

from services.alerts.core.document import Condition, Policy
from shared.contracts.risk import BANDS, RiskAssessed, Standing

UNKNOWN = Standing()


def wants(message: RiskAssessed, before: float | None, policy: Policy) -> bool | None:
    """True: warn; False: not risky enough; None: a rule says to ignore this assessment.

    `before` is the probability of the assessment before, None for the first.
    """
    for rule in policy.rules:
        if holds(rule.when, message, before):
            return True if rule.then == "raise" else None
    grade = (message.standing or UNKNOWN).grade
    least = policy.band_raise
    if grade is not None:
        least = policy.band_raise_by_grade.get(grade, least)
    return BANDS.index(message.band) >= BANDS.index(least)


def holds(when: Condition, message: RiskAssessed, before: float | None) -> bool:
    """Whether all that the condition asks is so."""
    standing = message.standing or UNKNOWN
    return (
        one_of(message.band, when.bands)
        and one_of(standing.grade, when.grades)
        and one_of(standing.tier, when.tiers)
        and one_of(standing.lifecycle, when.lifecycles)
        and meets(standing.segments, when.segments_any)
        and not set(standing.segments) & set(when.segments_none)
        and meets(standing.needs, when.needs_any)
        and meets([reason.code for reason in message.reasons], when.reasons_any)
        and _numbers_hold(when, message, before)
    )


def one_of(value: str | None, wanted: Sequence[str]) -> bool:
    """Whether a value is among those wanted; an empty list wants nothing in particular."""
    return not wanted or value in wanted


def meets(values: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether one of the values is among those wanted; an empty list wants nothing."""
    return not wanted or not set(values).isdisjoint(wanted)


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
