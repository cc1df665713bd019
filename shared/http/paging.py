"""Paging of lists: page sizes, and cursors that a client sends back unchanged."""

import base64
from collections.abc import Callable, Sequence
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, TypeVar

from fastapi import Query

from shared.kernel.errors import Invalid
from shared.kernel.text import unkeepable
from shared.kernel.times import in_utc

T = TypeVar("T")

PAGE_MAX = 200
"""Rows of one page: about 300 kB."""

WHOLE_DIGITS_MAX = 9
"""Digits that fit 32 bits, as PostgreSQL's integer."""

SERIAL_DIGITS_MAX = 18
"""Digits that fit 64 bits."""

CURSOR_CHARS_MAX = 4_000
"""Characters of a cursor: a time, a number and the longest id, in base64."""

Cursor = Annotated[str | None, Query(min_length=1, max_length=CURSOR_CHARS_MAX)]
"""`next` of the page before."""

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


def encoded(key: str | None) -> str | None:
    """Returns the cursor after the row with `key`; None: there is no next page."""
    return None if key is None else base64.urlsafe_b64encode(key.encode()).decode()


def page_of(
    rows: Sequence[T], limit: int, key: Callable[[T], object]
) -> tuple[Sequence[T], str | None]:
    """Returns the rows of a page, and the cursor after it; None: there is no next page.

    `rows`: read with one more than the page may have. `key`: what the next page begins after.

    >>> page_of([3, 5, 8], 2, lambda row: row)
    ([3, 5], 'NQ==')
    """
    page = rows[:limit]
    return page, encoded(str(key(page[-1]))) if len(rows) > limit else None


def decoded(cursor: str) -> str:
    """Returns the key in a cursor; Invalid when we did not make it."""
    try:
        key = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid_cursor() from None
    if not key or unkeepable(key) is not None:
        raise invalid_cursor()
    return key


def of_cursor(cursor: str, *kinds: Callable[[str], Any]) -> list[Any]:
    """Returns the values in a cursor: one of each kind, and a text at the end.

    The text may hold spaces. A kind is `whole`, `number` or `time`. Invalid when we did not make
    the cursor.

    >>> of_cursor(encoded("2 0.5 task 7"), whole, number)
    [2, 0.5, 'task 7']
    """
    words = decoded(cursor).split(" ", len(kinds))
    if len(words) != len(kinds) + 1 or not words[-1]:
        raise invalid_cursor()
    return [*(kind(word) for kind, word in zip(kinds, words, strict=False)), words[-1]]


def whole(text: str, digits_max: int = WHOLE_DIGITS_MAX) -> int:
    """Parses a number from 0 that fits 32 bits, in digits; Invalid for other text."""
    if not text.isascii() or not text.isdigit() or len(text) > digits_max:
        raise invalid_cursor()
    return int(text)


def serial(text: str) -> int:
    """Parses a number from 0 that fits 64 bits, in digits; Invalid for other text."""
    return whole(text, SERIAL_DIGITS_MAX)


def number(text: str) -> float:
    """Parses a finite number; Invalid for other text."""
    try:
        found = float(text)
    except ValueError:
        raise invalid_cursor() from None
    if not isfinite(found):
        raise invalid_cursor()
    return found


def time(text: str) -> datetime:
    """Parses a time with an offset, in UTC; Invalid for other text."""
    try:
        return in_utc("cursor", datetime.fromisoformat(text))
    except (ValueError, Invalid):
        raise invalid_cursor() from None


def invalid_cursor() -> Invalid:
    """Returns the error for a cursor that was made up or changed."""
    return Invalid("cursor", "give `next` of the page before, unchanged")
