"""Decides which customers are held out, as the comparison for the treated ones.

The draw is stable per policy and customer: the same customer is held out by every version of a
policy, on every replay and in every replica, without a table.
"""

from typing import Final

from services.alerts.core.ids import draw
from services.alerts.core.policy_document import Policy
from shared.contracts.risk import Grade, RiskAssessed

BITS: Final = 2**64


def held_out(message: RiskAssessed, policy: Policy) -> bool:
    """Return whether this customer is held out, by the policy's share; spared grades never are."""
    share = policy.holdout.share
    return eligible(message, policy) and drawn(policy.name, message.customer_id, share)


def eligible(message: RiskAssessed, policy: Policy) -> bool:
    """Return whether the draw could hold this customer out: others are not comparable."""
    grade = None if message.standing is None else message.standing.grade
    return policy.holdout.share > 0 and grade not in policy.holdout.spare_grades


def held_out_of_messages(policy: Policy, customer_id: str, grade: Grade | None) -> bool:
    """Return whether a customer of this grade is held out, whatever the cause of a message."""
    spared = grade in policy.holdout.spare_grades
    return not spared and drawn(policy.name, customer_id, policy.holdout.share)


def drawn(policy: str, customer_id: str, share: float) -> bool:
    """Return whether a customer is drawn. A larger share keeps the customers drawn before.

    >>> sum(drawn("p", str(n), 0.1) for n in range(10_000))
    1050
    """
    return draw(b"holdout", policy, customer_id) < share * BITS
