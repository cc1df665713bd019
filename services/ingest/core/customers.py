"""Which texts no customer is called: what broken clients write where they know of nobody."""

import unicodedata
from typing import Final

from services.ingest.core.faults import fault

NOBODY: Final = frozenset(
    {
        "undefined",
        "null",
        "(null)",
        "<null>",
        "none",
        "nil",
        "nan",
        "[object object]",
        "{{customer_id}}",
        "{{ customer_id }}",
    }
)
"""Without white space around them and in small letters."""

UNSEEN: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode's categories of what nobody sees: control and format characters (zero-width ones among
them), white space."""

BLANK_LETTERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and symbols that are blank all the same (Hangul fillers, the empty Braille cell)."""


def customer(subject: str) -> str:
    """The customer id, as it came; Invalid where it names nobody.

    >>> customer("household-7")
    'household-7'
    """
    shown = subject.strip()
    if not shown.isascii() or not shown.isprintable():
        shown = "".join(
            c for c in shown if c not in BLANK_LETTERS and unicodedata.category(c) not in UNSEEN
        )
    if not shown:
        raise fault("subject", "blank: it names the customer")
    if shown.lower() in NOBODY:
        raise fault(
            "subject", f"{shown!r} is what a broken client sends where it knows of no customer"
        )
    return subject
