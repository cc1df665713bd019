"""Types of what a request may carry beside its texts, which `borders` looks at for every route."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

from shared.kernel.errors import Invalid
from shared.kernel.times import in_utc
from shared.kernel.zones import zone


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


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with an offset, as UTC. A route takes no other: one without an offset is anybody's guess,
and one at the calendar's ends overflows in UTC."""

ZoneName = Annotated[str, AfterValidator(_zone_name)]
"""The IANA name of a time zone."""
