"""What a task is about: the cause among an assessment's reasons, and the reasons told with it.

What it is for: the step from reasons, which explain a probability, to one cause, which a person
can act on. It never decides whether there is a task.
"""

from typing import Final

from services.alerts.core.document import Policy
from shared.contracts.risk import Reason, RiskAssessed

SLIPPING_AGAIN: Final = "slipping_again"
"""Cause of a customer who was won back and now falls silent again, whatever led to it."""
CHURNED: Final = "churned"
"""Cause of a win-back task: nothing is about to happen, it has happened."""


def cause_of(message: RiskAssessed, policy: Policy) -> str | None:
    """The leading reason that is a change; None where there is none."""
    leading = next((r.code for r in message.reasons if r.code not in policy.traits), None)
    if leading is not None and _lifecycle(message) == "won_back":
        return SLIPPING_AGAIN
    return leading


def reasons_of(message: RiskAssessed, cause: str) -> list[Reason]:
    """What the owner is told, most important first: a cause that we found leads."""
    if cause not in (SLIPPING_AGAIN, CHURNED):
        return message.reasons
    facts = {"days_silent": message.days_silent, "usual_gap_days": message.usual_gap_days}
    known = {name: value for name, value in facts.items() if value is not None}
    impact = max((r.impact for r in message.reasons), default=0.0)
    return [Reason(code=cause, impact=impact, facts=known), *message.reasons]


def is_gone(message: RiskAssessed) -> bool:
    """Silent beyond the horizon, or never bought: there is nothing left to warn about."""
    return message.days_silent is None or message.days_silent > message.horizon_days


def _lifecycle(message: RiskAssessed) -> str | None:
    return None if message.standing is None else message.standing.lifecycle
