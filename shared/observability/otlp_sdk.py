"""Builds what records spans and sends them: the only module that loads OpenTelemetry's SDK."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

QUEUE_SPANS_MAX: Final = 2_048
"""Spans that wait for the receiver: a minute of a busy process, about 50 MB with all their links.
Of more, the oldest are dropped."""

EXPORT_SPANS_MAX: Final = 256
"""Spans in one request: some MB with all their links."""

EXPORT_EVERY_S: Final = 1.0
"""Seconds between requests: how late a trace is seen."""

EXPORT_S_MAX: Final = 5.0
"""How long a request may take, its repetitions included."""


class RootSampler(Sampler):
    """Decides on new traces: a share of them, and every batch that is linked to a sampled one."""

    def __init__(self, share: float) -> None:
        self._share = TraceIdRatioBased(share)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return whether the span is recorded."""
        by = ALWAYS_ON if links else self._share
        return by.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """Return what it does, for the SDK's own use."""
        return f"linked, or {self._share.get_description()}"


def provider_of(
    url: str, headers: Mapping[str, str], about: Mapping[str, str], share: float
) -> TracerProvider:
    """Builds the provider; `about`: the service, `share`: of new traces that are recorded."""
    # It warns of each dropped span and of each repetition; what has failed for good is an error.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    provider = TracerProvider(
        sampler=ParentBased(RootSampler(share)),
        resource=Resource.create(dict(about)),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=url, headers=dict(headers), timeout=EXPORT_S_MAX)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE_SPANS_MAX,
            schedule_delay_millis=EXPORT_EVERY_S * 1_000,
            max_export_batch_size=EXPORT_SPANS_MAX,
        )
    )
    return provider
