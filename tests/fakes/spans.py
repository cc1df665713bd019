"""Spans in memory, and the contexts of senders' traces."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased

from shared.contracts.dead_letter import Headers
from shared.contracts.headers import TRACEPARENT
from shared.observability.otlp_sdk import RootSampler


def parent(number: int, flags: str = "01") -> Headers:
    """Return the context of a sender's trace."""
    return ((TRACEPARENT, f"00-{number:032x}-{number:016x}-{flags}".encode()),)


class Spans:
    """Collects spans that have ended."""

    def __init__(self, share: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(RootSampler(share)))
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    def ended(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def one(self) -> ReadableSpan:
        [span] = self.ended()
        return span
