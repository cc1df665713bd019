"""Turns decoded values that JSON does not have into ones that it has."""

import base64
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any, Final

import orjson

DECIMAL_BYTES_MAX: Final = 64
"""Bytes of an unscaled decimal: 150 digits. Longer ones cost quadratic time to write."""

SCALE_MAX: Final = 100
"""Digits after the point of a decimal; an amount has nine at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (of times without a zone)
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_MIDNIGHT: Final = datetime(1, 1, 1)  # noqa: DTZ001
_SINGLE: Final = struct.Struct("<f")
_DIGITS: Final = Context(prec=200)


def to_json(value: Any) -> bytes:
    """Returns a decoded value as JSON: bytes in base64, NaN and infinities as null.

    >>> to_json({"a": b"hi", "b": float("nan")})
    b'{"a":"aGk=","b":null}'
    """
    return orjson.dumps(value, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def instant(microseconds: int) -> datetime:
    """Returns a time since 1970, UTC; raises ValueError beyond the years 1 to 9999."""
    return _moved(_EPOCH, microseconds)


def local_time(microseconds: int) -> datetime:
    """Returns a local time without a zone, from microseconds since 1970; raises ValueError."""
    return _moved(_LOCAL_EPOCH, microseconds)


def _moved(epoch: datetime, microseconds: int) -> datetime:
    try:
        return epoch + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise ValueError("a time beyond the years 1 to 9999") from error


def day(days: int) -> date:
    """Returns a date, from days since 1970; raises ValueError beyond the years 1 to 9999."""
    try:
        return date.fromordinal(_FIRST_DAY + days)
    except OverflowError as error:
        raise ValueError("a date beyond the years 1 to 9999") from error


def time_of_day(microseconds: int) -> time:
    """Returns a time of day; raises ValueError where it is none."""
    if not 0 <= microseconds < 86_400_000_000:  # noqa: PLR2004 (microseconds of a day)
        raise ValueError("a time of day beyond 24 hours")
    return (_MIDNIGHT + timedelta(microseconds=microseconds)).time()


def decimal_text(unscaled: bytes, scale: int) -> str:
    """Returns a decimal as text, from its big-endian unscaled number; raises ValueError.

    >>> decimal_text(b"\\x04\\xe2", 2), decimal_text(b"\\xff", 0)
    ('12.50', '-1')
    """
    if len(unscaled) > DECIMAL_BYTES_MAX or not 0 <= scale <= SCALE_MAX:
        raise ValueError(f"a decimal of {len(unscaled)} bytes and scale {scale} is no amount")
    number = Decimal(int.from_bytes(unscaled, "big", signed=True))
    return f"{number.scaleb(-scale, _DIGITS):f}"


def single(value: float) -> float:
    """Returns the shortest number that is this 32-bit float: 19.99, not 19.989999771118164.

    >>> single(struct.unpack("<f", struct.pack("<f", 19.99))[0])
    19.99
    """
    try:
        given = _SINGLE.pack(value)
        for digits in (6, 7, 8):
            short = float(f"{value:.{digits}g}")
            if _SINGLE.pack(short) == given:
                return short
    except OverflowError:  # rounded beyond the largest 32-bit float
        pass
    return value
