"""Time zones by their IANA names, as they come from outside."""

from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from shared.kernel.errors import Invalid

NAME_CHARS_MAX: Final = 64
"""Characters of a name; the longest of IANA's has 32."""


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones())


def zone(name: str, field: str = "time_zone") -> ZoneInfo:
    """The time zone of an IANA name; Invalid naming the field when there is none.

    Asked of the list of names and never of the file system, where `America` is a folder.

    >>> zone("Asia/Shanghai").key
    'Asia/Shanghai'
    """
    if len(name) > NAME_CHARS_MAX or name not in _known():
        shown = name if len(name) <= NAME_CHARS_MAX else f"{name[:NAME_CHARS_MAX]}…"
        raise Invalid(field, f"no time zone {shown!r}: use an IANA name such as Asia/Shanghai")
    return ZoneInfo(name)
