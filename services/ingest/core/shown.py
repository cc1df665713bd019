"""Shows the content of a dead letter to an operator: printable, and cut to a bound."""

from typing import Final

from shared.contracts.dead_letter import Headers

BYTES_SHOWN: Final = 2_000
"""Bytes of a key, a value or a header that are shown: a screen."""
HEADERS_SHOWN: Final = 100
"""Headers that are shown; the largest real records have some dozens."""


def printable(content: bytes | None) -> str | None:
    """Returns bytes as text without control characters: they must not control a terminal.

    >>> printable(b"a\\x1b[2J\\xff"), printable(b"a" * 2_001)[1_999:]
    ('a\\\\x1b[2J\\\\xff', 'a … (1 more bytes)')
    """
    if content is None:
        return None
    text = content[:BYTES_SHOWN].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    more = len(content) - BYTES_SHOWN
    return text if more <= 0 else f"{text} … ({more:,} more bytes)"


def line(text: str) -> str:
    """Returns a text on one line: a reason may quote a sender's line breaks.

    >>> line("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def headers_shown(headers: Headers) -> list[tuple[str, str | None]]:
    """Returns the first headers by name, with printable values."""
    return [(line(name), printable(value)) for name, value in headers[:HEADERS_SHOWN]]
