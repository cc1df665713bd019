"""Checks whether text can be stored: PostgreSQL and UTF-8 must accept it.

Two characters of a Python text cannot be stored: U+0000, which PostgreSQL refuses, and half of a
surrogate pair on its own, which JSON can write as an escape and UTF-8 cannot.
"""

import re
from typing import Final

from shared.kernel.errors import Invalid

_UNKEEPABLE: Final = re.compile("[\0\ud800-\udfff]")


def unkeepable(text: str) -> str | None:
    """Returns why a text cannot be stored; None where it can.

    >>> unkeepable("a\\0b")
    'holds the character U+0000: leave it out'
    >>> unkeepable("\\ud800")
    'holds U+D800, half of a character: leave it out'
    >>> unkeepable("客户") is None
    True
    """
    found = _UNKEEPABLE.search(text)
    if found is None:
        return None
    if found[0] == "\0":
        return "holds the character U+0000: leave it out"
    return f"holds U+{ord(found[0]):04X}, half of a character: leave it out"


def kept(field: str, text: str) -> str:
    """Returns `text` if it can be stored; Invalid with the field otherwise."""
    if (why := unkeepable(text)) is not None:
        raise Invalid(field, why)
    return text
