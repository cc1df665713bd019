"""Exemplars: the trace of one measured value, shown with its bucket in OpenMetrics.

Prometheus keeps them with `--enable-feature=exemplar-storage`; the classic text has none.
"""

import re
from typing import Final

TRACE_ID: Final = "trace_id"
"""The label that Grafana and others look for."""

_TRACEPARENT: Final = re.compile(
    rb"[0-9a-f]{2}-(?P<trace_id>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?"
)
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_NONE: Final = "0" * 32
"""The id that W3C Trace Context reserves for "no trace"."""


def exemplar_of(trace_id: str | None) -> dict[str, str] | None:
    """Returns the labels of a value's exemplar; None without a valid W3C trace id.

    >>> exemplar_of("4bf92f3577b34da6a3ce929d0e0e4736")
    {'trace_id': '4bf92f3577b34da6a3ce929d0e0e4736'}
    >>> exemplar_of(None), exemplar_of("0" * 32), exemplar_of("ann@example.org")
    (None, None, None)
    """
    if trace_id is None or trace_id == _NONE or not _TRACE_ID.fullmatch(trace_id):
        return None
    return {TRACE_ID: trace_id}


def trace_id_of(traceparent: bytes | None) -> str | None:
    """Returns the trace id of a `traceparent` header; None without one that is well-formed.

    >>> trace_id_of(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736'
    >>> trace_id_of(b"nonsense"), trace_id_of(None)
    (None, None)
    """
    found = _TRACEPARENT.fullmatch(traceparent or b"")
    return None if found is None else found["trace_id"].decode()
