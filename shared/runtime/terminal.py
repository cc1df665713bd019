"""What a command prints reaches the terminal as text: names of others' hold no control sequences.

What it is for: a customer's name with ESC would move the cursor, recolour or retitle the terminal
that lists it; a bidirectional override would show another text than is there.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase
from typing import Final, TextIO

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with each control character written as an escape.

    >>> visible("Ann\\x1b[2J")
    'Ann\\\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Visible(TextIOBase):
    """A stream that hands on what is visible."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    def write(self, text: str) -> int:
        """Write the text, its control characters as escapes."""
        return self._inner.write(visible(text))

    def flush(self) -> None:
        """Write out what is held."""
        self._inner.flush()

    def isatty(self) -> bool:
        """Whether a person sees it."""
        return self._inner.isatty()

    def fileno(self) -> int:
        """Of the stream beneath."""
        return self._inner.fileno()


@contextmanager
def visible_output() -> Iterator[None]:
    """All that is printed within is text."""
    with redirect_stdout(_Visible(sys.stdout)), redirect_stderr(_Visible(sys.stderr)):
        yield
