"""The three kinds of errors, and how each is handled.

`Invalid`    the input is wrong: make it a dead letter with the reason, go on.
`Transient`  a dependency is briefly unreachable: retry with a named bound, or pause.
Anything else is a bug: it crashes the process, so that it is seen.
"""

from typing import Final

UNREADABLE: Final = (ValueError, RecursionError, OverflowError)
"""What a decoder raises for malformed bytes: wrong syntax or types, text that is not UTF-8,
unbounded nesting, numbers out of range. To be converted to `Invalid`."""


class Invalid(Exception):  # noqa: N818 (a word of the domain, used like one)
    """Input that can never be accepted as it is.

    `field` is the path of the offending value (`data.amount`); `reason` states what is
    wrong with it and, where one exists, the remedy.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Transient(Exception):  # noqa: N818
    """An error that passes by itself: the caller may try the same thing again."""
