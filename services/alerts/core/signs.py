"""The signs of leaving as alerts knows them: their codes, what comes first, and what ends them.

What it is for: the words that the policy, the decision and the catalogue share. Scoring finds
the signs; this module never judges one.
"""

from typing import Final

from shared.contracts.signs import SILENCE, URGENCY

SAID: Final = frozenset[str](URGENCY[:4])
"""What the customer or a contract said. No probability, and so no budget, weighs it."""

CHURNED: Final = "churned"
"""Cause of a win-back task: nothing is about to happen, it has happened."""
POLICY_RULE: Final = "policy_rule"
"""Cause of a task that a rule of the policy raised where no sign holds."""


def urgency(code: str) -> int:
    """The place of a cause in the order of urgency; less comes first.

    >>> sorted(["churned", "new_and_quiet", "complaint_open", "tomorrows_sign"], key=urgency)
    ['complaint_open', 'new_and_quiet', 'churned', 'tomorrows_sign']
    """
    return (*URGENCY, CHURNED, code).index(code)


def about_silence(cause: str) -> bool:
    """Whether a cause speaks of the present silence, so that a purchase arms it again."""
    return cause in SILENCE or cause == CHURNED


def statistical(cause: str) -> bool:
    """Whether numbers suggest a cause, so that the budget of warnings applies to it."""
    return cause not in SAID and cause != POLICY_RULE


def ended_by_purchase(cause: str) -> bool:
    """Whether a purchase ends what a cause warned of; a rule's task has no sign that could end."""
    return about_silence(cause) or cause == POLICY_RULE
