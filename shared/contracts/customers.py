"""Recognises texts that are not customer ids: placeholders of broken clients and exports.

The stream refuses an event with such an id, and the reader of files leaves such a row out.
"""

import unicodedata
from typing import Final

NO_CUSTOMER: Final = frozenset(
    {
        "undefined",
        "null",
        "(null)",
        "<null>",
        "none",
        "nil",
        "nan",
        "n/a",
        "#n/a",
        "\\n",
        "-",
        "--",
        "[object object]",
        "{{customer_id}}",
        "{{ customer_id }}",
    }
)
"""In small letters, without white space around them."""

UNSEEN: Final = frozenset({"Cc", "Cf"})
"""Unicode's categories of invisible characters: control and format characters, zero-width ones
among them."""

SPACES: Final = frozenset({"Zs", "Zl", "Zp"})
"""Unicode's categories of white space."""

BLANK_LETTERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and symbols that are blank nevertheless (Hangul fillers, the empty Braille cell)."""


def shown(text: str) -> str:
    """Returns the visible part of an id; empty where it is blank.

    >>> shown(" household-7 "), shown("un\\u200bdefined"), shown("\\u3164")
    ('household-7', 'undefined', '')
    """
    stripped = text.strip()
    if stripped.isascii() and stripped.isprintable():
        return stripped
    seen = "".join(" " if unicodedata.category(c) in SPACES else c for c in stripped)
    return "".join(
        c for c in seen if c not in BLANK_LETTERS and unicodedata.category(c) not in UNSEEN
    ).strip()


def is_customer(text: str) -> bool:
    """Returns whether a text can be the id of a customer.

    >>> is_customer("household-7"), is_customer(" Undefined"), is_customer("\\u200b")
    (True, False, False)
    """
    seen = shown(text)
    return bool(seen) and seen.lower() not in NO_CUSTOMER
