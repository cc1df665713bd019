"""Derives the causes of a task, and the reasons that its owner reads, from an assessment.

It never decides whether there is a task.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final

from services.alerts.core.conditions import passes
from services.alerts.core.policy_document import Policy
from services.alerts.core.signs import CHURNED, POLICY_RULE, about_silence, urgency
from shared.contracts.risk import Reason, RiskAssessed, Sign
from shared.contracts.signs import SILENCE
from shared.contracts.treatment import LeavingCause

SURE: Final = 1.0
"""Impact of a certain fact."""


def by_urgency(message: RiskAssessed) -> list[Sign]:
    """Return the signs of an assessment, the most urgent first."""
    return sorted(message.signs, key=lambda sign: urgency(sign.code))


def leading(message: RiskAssessed, policy: Policy) -> str:
    """Return the cause of a rule's task: the first sign, or the first reason that is no trait."""
    signs = (sign.code for sign in by_urgency(message))
    changes = (r.code for r in message.reasons if r.code not in policy.traits)
    return next(chain(signs, changes), POLICY_RULE)


def reasons_of(
    message: RiskAssessed,
    causes: Sequence[str],
    policy: Policy,
    before: Sequence[Reason] = (),
) -> list[Reason]:
    """Return the reasons that the owner reads.

    These are the causes, the other signs that pass, and the further reasons of the score. For a
    cause that does not hold any more, the reason from `before` stays. The silence is a reason once:
    the score's own would give it with another usual gap.
    """
    signs = {sign.code: _reason(sign) for sign in by_urgency(message)}
    known = {reason.code: reason for reason in (*before, *message.reasons)} | signs
    passing = [sign.code for sign in by_urgency(message) if passes(sign, message, policy)]
    codes = dict.fromkeys([*causes, *passing])
    first = [known.get(code) or _own(code, message) for code in codes]
    left_out = {*codes, *policy.traits, *(SILENCE if any(map(about_silence, codes)) else ())}
    return first + [reason for reason in message.reasons if reason.code not in left_out]


def is_gone(message: RiskAssessed) -> bool:
    """Return whether the customer is gone, so that there is no silence left to warn of.

    The silence has reached the lapse length, or none is measured: the customer never bought, or the
    contract has ended.
    """
    silent, lapse = message.days_silent, message.lapse
    return silent is None or lapse is None or silent >= lapse.days


def suspected_leaving_cause(
    message: RiskAssessed, learned: LeavingCause | None
) -> LeavingCause | None:
    """Return why a customer who is gone has left, as far as it is known.

    `learned`: the cause from an owner's verdict. Without one, it is derived from the signs of
    complaints and surveys.
    """
    if learned is not None:
        return learned
    holding = {sign.code for sign in message.signs}
    if "complaint_open" in holding:
        return "service"
    if holding & {"satisfaction_low", "recommendation_low"}:
        return "quality"
    return None


def _reason(sign: Sign) -> Reason:
    return Reason(code=sign.code, impact=sign.strength, facts=sign.facts)


def _own(cause: str, message: RiskAssessed) -> Reason:
    """Return the reason of a cause that is neither a sign nor a reason of the assessment."""
    if cause != CHURNED:
        return Reason(code=cause, impact=message.probability, facts={})
    lapse = message.lapse
    usual = message.usual_gap_days if lapse is None else lapse.usual_gap_days
    facts = {"days_silent": message.days_silent, "usual_gap_days": usual}
    return Reason(code=cause, impact=SURE, facts={k: v for k, v in facts.items() if v is not None})
