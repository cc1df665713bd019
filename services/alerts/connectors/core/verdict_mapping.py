"""Reads verdicts from a record's fields, by the rules of an administrator.

For example `Status` of `Completed` means `action_taken`. The first rule that fits counts. No
verdict is guessed: a record that no rule fits has no verdict yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from services.alerts.connectors.core.call import word_of
from shared.contracts.treatment import LeavingCause, Verdict

DEPTH_MAX: Final = 4
"""Levels to which a field's value is searched: a pick list's objects in a list are two."""


class VerdictRule(BaseModel):
    """Maps a value of `field` to `verdict`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field(min_length=1, max_length=100)
    value: str = Field(min_length=1, max_length=200)
    verdict: Verdict
    leaving_cause: LeavingCause | None = None
    """The cause, with the verdict `leaving`."""


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """A record of the CRM that carries our key."""

    key: str
    remote_id: str
    values: Mapping[str, Any]
    modified_ms: int
    """Unix ms of its last change, by the CRM's clock."""


def rule_of(values: Mapping[str, Any], rules: Sequence[VerdictRule]) -> VerdictRule | None:
    """Return the rule that a record's fields fit; None: the owner has not answered yet.

    >>> done = VerdictRule(field="Status", value="Completed", verdict="reached")
    >>> rule_of({"Status": "Completed"}, [done]).verdict
    'reached'
    """
    return next((rule for rule in rules if contains(values.get(rule.field), rule.value)), None)


def contains(value: Any, text: str, depth: int = DEPTH_MAX) -> bool:
    """Return whether a field has this value; a pick list may hold a list or an object."""
    if isinstance(value, list):
        return depth > 0 and any(contains(each, text, depth - 1) for each in value)
    if isinstance(value, Mapping):
        inner = value.get("value", value.get("name"))
        return depth > 0 and contains(inner, text, depth - 1)
    if isinstance(value, bool):
        return str(value).lower() == text.lower()
    if isinstance(value, float):
        return str(value) == text
    return (value == text) if isinstance(value, str) else bool(text) and word_of(value) == text
