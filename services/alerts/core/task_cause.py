"""What a task is about: the causes, and the reasons that its owner reads.

What it is for: the step from signs and reasons to what a person can act on. It never decides
whether there is a task.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final

from services.alerts.core.conditions import passes
from services.alerts.core.policy_document import Policy
from services.alerts.core.signs import CHURNED, POLICY_RULE, urgency
from shared.contracts.risk import Reason, RiskAssessed, Sign
from shared.contracts.treatment import LeavingCause

SURE: Final = 1.0
"""Impact of what is certain."""


def by_urgency(message: RiskAssessed) -> list[Sign]:
    """The signs of an assessment, the most urgent first."""
    return sorted(message.signs, key=lambda sign: urgency(sign.code))


def leading(message: RiskAssessed, policy: Policy) -> str:
    """What a rule's task is called: the first sign, or the first reason that is a change."""
    signs = (sign.code for sign in by_urgency(message))
    changes = (r.code for r in message.reasons if r.code not in policy.traits)
    return next(chain(signs, changes), POLICY_RULE)


def reasons_of(
    message: RiskAssessed,
    causes: Sequence[str],
    policy: Policy,
    before: Sequence[Reason] = (),
) -> list[Reason]:
    """What the owner reads: the causes, the other signs that pass, and what else explains the
    score. Of a cause that does not hold any more, what the owner read `before` stays."""
    signs = {sign.code: _reason(sign) for sign in by_urgency(message)}
    known = {reason.code: reason for reason in (*before, *message.reasons)} | signs
    passing = [sign.code for sign in by_urgency(message) if passes(sign, message, policy)]
    codes = dict.fromkeys([*causes, *passing])
    first = [known.get(code) or _own(code, message) for code in codes]
    rest = [
        reason
        for reason in message.reasons
        if reason.code not in codes and reason.code not in policy.traits
    ]
    return first + rest


def is_gone(message: RiskAssessed) -> bool:
    """Whether the silence has reached the lapse length, or none is measured: a customer who
    never bought, or whose contract has ended. There is no silence left to warn of."""
    silent, lapse = message.days_silent, message.lapse
    return silent is None or lapse is None or silent >= lapse.days


def suspected_leaving_cause(
    message: RiskAssessed, learned: LeavingCause | None
) -> LeavingCause | None:
    """Why a customer who is gone has left, as far as it is known.

    `learned`: what an owner has found out. Otherwise what the customer said is taken for it.
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
    """The reason of a cause that is neither a sign nor a reason of the assessment."""
    if cause != CHURNED:
        return Reason(code=cause, impact=message.probability, facts={})
    lapse = message.lapse
    usual = message.usual_gap_days if lapse is None else lapse.usual_gap_days
    facts = {"days_silent": message.days_silent, "usual_gap_days": usual}
    return Reason(code=cause, impact=SURE, facts={k: v for k, v in facts.items() if v is not None})
