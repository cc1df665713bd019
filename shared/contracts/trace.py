"""W3C trace context in the headers of records: the one place where it is read and checked.

What is not valid is left out, as the standard demands, and never an error: then a new trace begins.
Baggage is not read at all: what a sender writes there may be personal, and goes no further.
"""

import re
from typing import Final

from shared.contracts.dead_letter import Headers
from shared.contracts.headers import TRACEPARENT, TRACESTATE

STATE_BYTES_MAX: Final = 512
"""Bytes of a trace state that are passed on: the standard's least. Longer ones are left out."""

STATE_MEMBERS_MAX: Final = 32
"""Members of a trace state, as the standard allows."""

_PARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""Version, trace, span, flags; a trace or a span of zeros is none."""
_LATER: Final = re.compile(
    rb"(?!00|ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-([0-9a-f]{2})"
    rb"(-[!-~]{0,200})?"
)
"""The same of a later version, which may append more."""
_MEMBER: Final = re.compile(
    rb"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    rb"=([ -+\--<>-~]{0,255}[!-+\--<>-~])"
)
"""Key and value of a member of a trace state."""


def trace_of(headers: Headers) -> Headers:
    """Returns the trace context among headers, as headers of what follows; empty without a valid
    one.

    >>> parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    >>> trace_of(((TRACEPARENT, parent), ("baggage", b"customer=ann"))) == ((TRACEPARENT, parent),)
    True
    >>> trace_of(((TRACEPARENT, b"nonsense"),))
    ()
    """
    if not headers:
        return ()
    name, value = headers[0]
    if len(headers) == 1 and name == TRACEPARENT and value and _PARENT.fullmatch(value):
        return headers  # as nearly every record that has any
    parents = [value for name, value in headers if name == TRACEPARENT]
    if len(parents) != 1 or (parent := _parent(parents[0] or b"")) is None:
        return ()
    state = _state([value or b"" for name, value in headers if name == TRACESTATE])
    return ((TRACEPARENT, parent), (TRACESTATE, state)) if state else ((TRACEPARENT, parent),)


def _parent(value: bytes) -> bytes | None:
    """Returns the parent in version 00; None where it is not valid.

    Of a later version the four known fields count, and of its flags only whether it is sampled.
    """
    if _PARENT.fullmatch(value):
        return value
    if (later := _LATER.fullmatch(value)) is None:
        return None
    return b"00-%b-%02x" % (later[1], int(later[2], 16) & 1)


def _state(values: list[bytes]) -> bytes:
    """Returns the trace state as one value; empty where it is not valid as a whole."""
    members = [member.strip(b" \t") for member in b",".join(values).split(b",")]
    found = [_MEMBER.fullmatch(member) for member in members if member]
    keys = {each[1] for each in found if each is not None}
    state = b",".join(member for member in members if member)
    fits = len(state) <= STATE_BYTES_MAX and len(found) <= STATE_MEMBERS_MAX
    return state if fits and len(keys) == len(found) else b""
