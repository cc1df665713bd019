"""Time zones by their IANA names, as received from outside."""

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
    """Returns the time zone of an IANA name; Invalid with the field when there is none.

    Looked up in the list of names and never in the file system, where `America` is a folder.

    >>> zone("Asia/Shanghai").key
    'Asia/Shanghai'
    """
    if len(name) > NAME_CHARS_MAX or name not in _known():
        shown = name if len(name) <= NAME_CHARS_MAX else f"{name[:NAME_CHARS_MAX]}…"
        raise Invalid(field, f"no time zone {shown!r}: use an IANA name such as Asia/Shanghai")
    return ZoneInfo(name)
