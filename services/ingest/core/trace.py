"""Reads the W3C trace context of a record: passed on unchanged, or dropped when malformed."""

import re

from shared.contracts.dead_letter import Headers
from shared.contracts.headers import TRACEPARENT

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?")
"""Version, trace, parent, flags; a later version may append more. Of bounded length."""


def traceparent_of(headers: Headers) -> Headers:
    """Returns the trace context as headers for what follows from this record; none if malformed.

    >>> traceparent_of(((TRACEPARENT, b"nonsense"),))
    ()
    """
    for name, value in headers:
        if name == TRACEPARENT and value is not None and _TRACEPARENT.fullmatch(value):
            return ((TRACEPARENT, value),)
    return ()
