"""Regular expressions of rules, compiled by RE2, which runs in time linear in the text.

All of them are compiled here. RE2 never writes to the log: its own message would contain the
rule's text unescaped, line breaks included.
"""

import re
from functools import lru_cache
from typing import Any, Final

import re2

CACHED: Final = 1_000
"""Compiled expressions kept in the cache: some for each of some hundreds of segments."""

WRONG: Final = (re2.error, UnicodeError)
"""The errors that `pattern` raises for a text that is no regular expression."""

_QUIET: Final = re2.Options()
_QUIET.log_errors = False

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@lru_cache(CACHED)
def pattern(text: str) -> Any:
    """Return the compiled expression; raises one of `WRONG` where the text is none."""
    return re2.compile(text, _QUIET)


def is_text(text: str) -> bool:
    """Return whether all of it is characters: half of a surrogate pair is none, and no UTF-8.

    >>> is_text("年"), is_text("\\ud800")
    (True, False)
    """
    return _SURROGATE.search(text) is None
