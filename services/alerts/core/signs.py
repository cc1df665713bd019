"""The signs of leaving as alerts knows them: their codes, their urgency, and what ends them.

The policy, the decision and the catalogue share these codes. Scoring detects the signs; this module
never evaluates one.
"""

from typing import Final

from shared.contracts.signs import SILENCE, URGENCY

STATED: Final = frozenset[str](URGENCY[:4])
"""Signs that are statements of the customer or a contract. No probability, and so no budget,
applies to them."""

CHURNED: Final = "churned"
"""Cause of a win-back task: the customer has left already."""
POLICY_RULE: Final = "policy_rule"
"""Cause of a task that a rule of the policy raised where no sign holds."""


def urgency(code: str) -> int:
    """Return the place of a cause in the order of urgency; lower comes first.

    >>> sorted(["churned", "new_and_quiet", "complaint_open", "tomorrows_sign"], key=urgency)
    ['complaint_open', 'new_and_quiet', 'churned', 'tomorrows_sign']
    """
    return (*URGENCY, CHURNED, code).index(code)


def about_silence(cause: str) -> bool:
    """Return whether a cause is about the present silence, so that a purchase arms it again."""
    return cause in SILENCE or cause == CHURNED


def statistical(cause: str) -> bool:
    """Return whether a cause is inferred from numbers, so that the budget applies to it."""
    return cause not in STATED and cause != POLICY_RULE


def ended_by_purchase(cause: str) -> bool:
    """Return whether a purchase ends a cause.

    It also ends a rule's task, since that has no sign that could end.
    """
    return about_silence(cause) or cause == POLICY_RULE
