"""Collects what is wrong with single rows, or raises the first of it.

Training refuses a file with a faulty row; an import leaves such rows out and writes them to a
rejects file. The checks are the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import polars as pl

from shared.kernel.errors import Invalid

REJECTS_MAX: Final = 200_000
"""Rows that may be rejected: more are no mistakes of single rows, and each takes about 300 bytes of
memory."""
SHOWN_CHARS_MAX: Final = 60
"""Characters of a value that a message quotes."""


class Faults(Protocol):
    """Receives the faulty rows that a check finds."""

    def see(self, role: str, bad: pl.Series, row: pl.Series, why: Callable[[int], str]) -> None:
        """`bad` marks faulty places, `row` has their numbers; `why(place)` follows "row 3"."""


class FirstFault:
    """Raises Invalid for the first faulty row."""

    def see(self, role: str, bad: pl.Series, row: pl.Series, why: Callable[[int], str]) -> None:
        """Raise Invalid naming column and row, where a row is faulty."""
        if bad.any():
            at = int(bad.arg_true()[0])
            raise Invalid(role, f"row {row[at]}{why(at)}")


@dataclass(slots=True)
class Rejects:
    """Rows left out, with the reason of each."""

    file: str
    reasons: dict[int, str] = field(default_factory=dict)
    """Number of the row -> why it was left out; the first reason counts."""

    def see(self, role: str, bad: pl.Series, row: pl.Series, why: Callable[[int], str]) -> None:
        """Note the faulty rows. Raises Invalid when there are more than REJECTS_MAX."""
        self.add({int(row[at]): f"{role}{why(at)}" for at in bad.arg_true().to_list()})

    def add(self, reasons: Mapping[int, str]) -> None:
        """Note rows with their reasons. Raises Invalid when there are more than REJECTS_MAX."""
        for row, reason in reasons.items():
            self.reasons.setdefault(row, reason)
        if len(self.reasons) > REJECTS_MAX:
            row = min(self.reasons)
            raise Invalid(
                "events",
                f"{self.file}: more than {REJECTS_MAX:,} rows cannot be imported, the first is row "
                f"{row} ({self.reasons[row]}): is a column mistaken for another?",
            )


def quoted(value: Any) -> str:
    """Return a value as a message quotes it, shortened.

    >>> quoted("abc "), quoted("x" * 100)[-3:]
    ("'abc'", "x'…")
    """
    text = str(value).strip()
    return repr(text) if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]!r}…"
