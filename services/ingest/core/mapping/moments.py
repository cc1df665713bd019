"""Times as other systems write them: epochs, local times, other notations, wrong clocks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from services.ingest.core.mapping.money import number
from services.ingest.core.mapping.scope import Refused

UNITS: Final = {
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "ns": Decimal("1e-9"),
    "d": Decimal(86_400),
}
"""Seconds of a unit."""

EPOCH_S_MAX: Final = 32_503_680_000
"""Seconds after 1970 of the year 3000: a larger number is in another unit."""

TIME_CHARS_MAX: Final = 64
"""Characters of a time or of its notation."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(text: str, place: ZoneInfo | None) -> datetime:
    """Returns the time of an ISO 8601 text; without an offset it is local time at `place`.

    A local time that the clocks pass twice is the first of the two.

    >>> parse("2026-03-01 08:30", ZoneInfo("Asia/Shanghai")).isoformat()
    '2026-03-01T08:30:00+08:00'
    """
    if len(text) > TIME_CHARS_MAX:
        raise Refused(f"a text of {len(text):,} characters is no time")
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Refused(
            f"{text!r} is no time in ISO 8601: convert it with epoch() or parse_time()"
        ) from error
    if found.tzinfo is not None:
        return found
    if place is None:
        raise Refused(
            f"{text!r} has no offset from UTC: name the zone with in_zone() or `time_zone:`"
        )
    return found.replace(tzinfo=place)


def from_format(text: str, form: str, place: ZoneInfo) -> str:
    """Returns a time in another notation (Python's `strptime`), local at `place`.

    >>> from_format("31.12.2025 23:05", "%d.%m.%Y %H:%M", ZoneInfo("Europe/Berlin"))
    '2025-12-31T23:05:00+01:00'
    """
    if len(text) > TIME_CHARS_MAX or len(form) > TIME_CHARS_MAX:
        raise Refused(f"a time and its notation have at most {TIME_CHARS_MAX} characters")
    try:
        found = datetime.strptime(text.strip(), form)  # noqa: DTZ007 (the zone follows)
    except (ValueError, TypeError) as error:
        raise Refused(f"{text!r} is no time in the notation {form!r}") from error
    return (found if found.tzinfo is not None else found.replace(tzinfo=place)).isoformat()


def from_epoch(value: Any, unit: Any) -> str | None:
    """Returns the time so many units after 1970, to the microsecond.

    >>> from_epoch(1772355600000, "ms"), from_epoch("1772355600", "s")
    ('2026-03-01T09:00:00+00:00', '2026-03-01T09:00:00+00:00')
    """
    found = number(value)
    if found is None:
        return None
    if not isinstance(unit, str) or unit not in UNITS:
        raise Refused(f"the unit is one of {', '.join(UNITS)}")
    seconds = found * UNITS[unit]
    if abs(seconds) > EPOCH_S_MAX:
        raise Refused(f"{value} in {unit} is after the year 3000: is it in a smaller unit?")
    return (_EPOCH + timedelta(microseconds=int(seconds * 1_000_000))).isoformat()


def correct(original: str, sent: str, received: str) -> str:
    """Returns `original` moved by `received - sent`, at most `received`.

    >>> correct("2026-03-01T08:00:00Z", "2026-03-01T08:00:10Z", "2026-03-01T09:00:10Z")
    '2026-03-01T09:00:00+00:00'
    """
    begun, left, came = (parse(text, None) for text in (original, sent, received))
    try:
        return min(came, came - (left - begun)).astimezone(UTC).isoformat()
    except OverflowError as error:
        raise Refused("the times are too far apart") from error
