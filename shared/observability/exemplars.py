"""Exemplars: the trace of a measured value, shown with its bucket in OpenMetrics.

Prometheus keeps them with `--enable-feature=exemplar-storage`; the classic text has none.
"""

from typing import Final

from opentelemetry.trace import get_current_span

TRACE_ID: Final = "trace_id"
"""The label that Grafana and others look for."""


def exemplar() -> dict[str, str] | None:
    """Returns the labels that name the current trace; None without one that is sampled.

    Of a trace that is not sampled a viewer has nothing to show.
    """
    context = get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return {TRACE_ID: f"{context.trace_id:032x}"}
