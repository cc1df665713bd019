"""Regular expressions of rules: RE2's, which take time in proportion to the text and no more.

What it is for: the one place that compiles them. It never lets RE2 write to the log: its own
message would hold the rule's text as it is, line breaks and all.
"""

import re
from functools import lru_cache
from typing import Any, Final

import re2

CACHED: Final = 1_000
"""Compiled expressions that are kept: some for each of some hundreds of segments."""

WRONG: Final = (re2.error, UnicodeError)
"""What `pattern` raises for a text that is no regular expression."""

_QUIET: Final = re2.Options()
_QUIET.log_errors = False

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@lru_cache(CACHED)
def pattern(text: str) -> Any:
    """The compiled expression; one of `WRONG` where it is none."""
    return re2.compile(text, _QUIET)


def is_text(text: str) -> bool:
    """Whether all of it are characters: half of a surrogate pair is none, and no UTF-8.

    >>> is_text("年"), is_text("\\ud800")
    (True, False)
    """
    return _SURROGATE.search(text) is None
