"""Makes printed text safe for the terminal: escapes control sequences in foreign names.

A customer's name with ESC would move the cursor, recolour or retitle the terminal that lists it; a
bidirectional override would display a different text.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase
from typing import Final, TextIO

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Returns the text with each control character written as an escape.

    >>> visible("Ann\\x1b[2J")
    'Ann\\\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Visible(TextIOBase):
    """A stream that passes on text made visible."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    def write(self, text: str) -> int:
        """Write the text, its control characters as escapes."""
        return self._inner.write(visible(text))

    def flush(self) -> None:
        """Flush the underlying stream."""
        self._inner.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._inner.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the underlying stream."""
        return self._inner.fileno()


@contextmanager
def visible_output() -> Iterator[None]:
    """Make everything printed within the block visible."""
    with redirect_stdout(_Visible(sys.stdout)), redirect_stderr(_Visible(sys.stderr)):
        yield
