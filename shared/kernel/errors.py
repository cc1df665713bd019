"""The three kinds of trouble, and what each asks of whoever meets it.

`Invalid`    the input is wrong: park it as a dead letter with the reason, go on.
`Transient`  the world is briefly not there: retry with a named bound, or pause.
anything else is a bug: it crashes the process, so that it is seen.
"""

from typing import Final

UNREADABLE: Final = (ValueError, RecursionError, OverflowError)
"""What a decoder raises for bytes that are not what they should be: wrong syntax or types, text
that is not UTF-8, nesting without an end, numbers out of range. It is to become `Invalid`."""


class Invalid(Exception):  # noqa: N818 (a word of the domain, used like one)
    """Input that can never be accepted as it is.

    `field` is the path of the offending value (`data.amount`); `reason` says what is
    wrong with it and, where one exists, the mend.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Transient(Exception):  # noqa: N818
    """Trouble that passes by itself: the caller may try the same thing again."""
