"""Checks whether times can be stored: in UTC they must lie within the years 1 to 9999."""

from datetime import UTC, datetime, timedelta
from typing import Final

from shared.kernel.errors import Invalid

MARGIN: Final = timedelta(days=800)
"""Kept free at both ends of the calendar, so that adding a horizon (730 days at most) or a window
to a time from outside cannot leave it either."""

EARLIEST: Final = datetime.min.replace(tzinfo=UTC) + MARGIN
LATEST: Final = datetime.max.replace(tzinfo=UTC) - MARGIN


def in_utc(field: str, at: datetime) -> datetime:
    """Returns `at` in UTC; Invalid without an offset, or at the calendar's ends.

    >>> in_utc("until", datetime.fromisoformat("2026-03-01T09:00:00+08:00")).hour
    1
    """
    if at.tzinfo is None:
        raise Invalid(field, "must have a time zone: send 2026-03-01T08:30:00Z, for instance")
    try:
        moved = at.astimezone(UTC)
    except OverflowError:
        moved = None
    if moved is None or not EARLIEST <= moved <= LATEST:
        raise Invalid(field, f"must lie between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d}")
    return moved
