"""Regular expressions of rules, compiled by RE2, which runs in time linear in the text.

All of them are compiled here. RE2 never writes to the log: its own message would contain the
rule's text unescaped, line breaks included.
"""

from functools import lru_cache
from typing import Any, Final

import re2

CACHED: Final = 1_000
"""Compiled expressions kept in the cache: some for each of some hundreds of segments."""

WRONG: Final = (re2.error, UnicodeError)
"""The errors that `pattern` raises for a text that is no regular expression."""

_QUIET: Final = re2.Options()
_QUIET.log_errors = False


@lru_cache(CACHED)
def pattern(text: str) -> Any:
    """Return the compiled expression; raises one of `WRONG` where the text is none."""
    return re2.compile(text, _QUIET)
