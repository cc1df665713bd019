"""Parsers of operators' arguments: times, numbers and texts that can be stored.

Shared by all commands, as `shared/http/fields.py` is by all routes. An error names the argument.
"""

import argparse
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from shared.kernel.errors import Invalid
from shared.kernel.text import kept
from shared.kernel.times import in_utc

COUNT_MAX: Final = 999_999_999
"""Fits 32 bits, one more or less included."""

SERIAL_MAX: Final = 10**18 - 1
"""Fits 64 bits: offsets and numbers of rows."""

DAYS_MAX: Final = 36_500
"""A hundred years: adding or subtracting it never leaves the calendar."""


def count(text: str) -> int:
    """Parses a count, or the number of a partition.

    >>> count("50")
    50
    """
    return _whole(text, 0, COUNT_MAX)


def serial(text: str) -> int:
    """Parses an offset, or the number of a row."""
    return _whole(text, 0, SERIAL_MAX)


def days(text: str) -> int:
    """Parses a number of days."""
    return _whole(text, 1, DAYS_MAX)


def number(text: str) -> float:
    """Parses a finite number."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number")
    return found


def instant(text: str) -> datetime:
    """Parses an ISO 8601 time, in UTC; one without an offset is UTC."""
    try:
        at = datetime.fromisoformat(text)
        return in_utc("time", at if at.tzinfo else at.replace(tzinfo=UTC))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no time: send one such as 2026-03-01T08:30:00Z"
        ) from None
    except Invalid as wrong:
        raise argparse.ArgumentTypeError(wrong.reason) from None


def look_at(arguments: argparse.Namespace) -> None:
    """Refuse texts that cannot be stored; Invalid names the argument."""
    for name, value in vars(arguments).items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str | Path):
                kept(name, str(part))


def _whole(text: str, least: int, most: int) -> int:
    fits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not fits or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no whole number from {least} to {most:,}"
        )
    return int(text)
