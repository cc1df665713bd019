"""Reads a policy document from any source; checks that its days exist in the calendar."""

from datetime import date
from typing import Any, Final

from services.alerts.core.policy_document import Policy, read, upgrade
from shared.kernel.errors import Invalid

DAY_KEY: Final = "on"
LEAP_YEAR: Final = 2028
"""The year used to check a day without a year; a leap year, so that 29 February is valid."""


def read_document(document: Any, *, earlier: bool = False) -> Policy:
    """Return the policy of a document; Invalid names what is wrong with it.

    `earlier`: it may be of an earlier version, which is converted.
    """
    _check_days(document, "policy")
    return read(upgrade(document) if earlier else document)


def _check_days(value: Any, place: str) -> None:
    """Raise Invalid for a day `on: MM-DD` that no year has."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            _check_days(inner, f"{place}[{index}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == DAY_KEY and isinstance(inner, str):
                _check_day(inner, f"{place}.{key}")
            else:
                _check_days(inner, f"{place}.{key}")


def _check_day(text: str, place: str) -> None:
    try:
        date.fromisoformat(f"{LEAP_YEAR}-{text}" if len(text) == len("02-29") else text)
    except ValueError:
        raise Invalid(
            place, f"{text!r} is no day of any year: write MM-DD, such as 02-29"
        ) from None
