"""Types of request fields other than texts, which `borders` checks for every route."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from shared.kernel.errors import Invalid
from shared.kernel.times import in_utc
from shared.kernel.zones import zone


def _written(value: object) -> object:
    """Accepts a time as text or datetime; a number is not accepted as a time."""
    if isinstance(value, datetime) or (isinstance(value, str) and "T" in value.upper()):
        return value
    raise ValueError("send RFC 3339 with an offset, such as 2026-03-01T08:30:00Z")


def _no_truth(value: object) -> object:
    """Refuses `true` and `false`, which pydantic would read as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is needed here")  # noqa: TRY004 (pydantic's way)
    return value


def _in_utc(at: datetime) -> datetime:
    try:
        return in_utc("time", at)
    except Invalid as wrong:
        raise ValueError(wrong.reason) from None


def _zone_name(name: str) -> str:
    try:
        return zone(name).key
    except Invalid as wrong:
        raise ValueError(wrong.reason) from None


Instant = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]
"""A time with an offset, converted to UTC. Routes accept no other: one without an offset is
ambiguous, and one at the calendar's ends overflows in UTC."""

Whole = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]
"""Numbers of a body, without truth values, which pydantic accepts as numbers."""

ZoneName = Annotated[str, AfterValidator(_zone_name)]
"""The IANA name of a time zone."""
