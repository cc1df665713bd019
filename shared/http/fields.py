"""Types of what a request may carry beside its texts, which `borders` looks at for every route."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from shared.kernel.errors import Invalid
from shared.kernel.times import in_utc
from shared.kernel.zones import zone


def _written(value: object) -> object:
    """A time as people write it: a number is nobody's word for one."""
    if isinstance(value, datetime) or (isinstance(value, str) and "T" in value.upper()):
        return value
    raise ValueError("send RFC 3339 with an offset, such as 2026-03-01T08:30:00Z")


def _no_truth(value: object) -> object:
    """`true` is no 1."""
    if isinstance(value, bool):
        raise ValueError("a number is wanted here")  # noqa: TRY004 (pydantic's way)
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
"""A time with an offset, as UTC. A route takes no other: one without an offset is anybody's guess,
and one at the calendar's ends overflows in UTC."""

Whole = Annotated[int, BeforeValidator(_no_truth)]
Number = Annotated[float, BeforeValidator(_no_truth)]
"""Numbers of a body; pydantic takes truth values for some."""

ZoneName = Annotated[str, AfterValidator(_zone_name)]
"""The IANA name of a time zone."""
