"""Escapes foreign text for a medium: it is shown as it is, and never read as markup.

A customer may be called `<@member-7> **x** [y](http://evil)`. WeCom's Markdown has no escape, so
markup characters are replaced by the full-width forms of the same characters. Addresses are
percent-encoded.
"""

import re
from typing import Any, Final
from urllib.parse import quote

from jinja2.runtime import Undefined

_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+"
)
"""Characters to replace. Line breaks too: a line of foreign text would begin outside its
quotation."""

_MARKUP: Final = str.maketrans({c: chr(ord(c) + 0xFEE0) for c in "<>[]*`#~|\\"})
_ALONE: Final = re.compile(r"__+|://")
"""Markup only in combination: one underscore is part of many ids, a colon of a time."""


def one_line(text: str) -> str:
    """Return the text without control characters and line breaks.

    >>> one_line("a\\n\\x1b[31mb")
    'a [31mb'
    """
    return _CONTROL.sub(" ", text)


def markdown(text: str) -> str:
    """Escape the text for WeCom's Markdown, or for a plain message, where `<a>` is a link.

    >>> markdown("<@m-7> **x** [y](http://evil)")
    '＜@m-7＞ ＊＊x＊＊ ［y］(http：//evil)'
    """
    plain = one_line(text).translate(_MARKUP)
    return _ALONE.sub(lambda found: _wide(found[0]), plain)


def in_markdown(value: Any) -> Any:
    """Escape a template's output within WeCom's Markdown."""
    return value if isinstance(value, Undefined) else markdown(str(value))


def in_address(value: Any) -> Any:
    """Escape a template's output within an address."""
    return value if isinstance(value, Undefined) else quote(str(value), safe="", errors="replace")


def _wide(text: str) -> str:
    return text.replace("_", "＿").replace(":", "：")
