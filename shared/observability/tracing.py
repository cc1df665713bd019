"""Trace context at work: which trace something belongs to, and spans of what is done about it.

Without an endpoint (`otlp`) no span is recorded and OpenTelemetry's SDK is not loaded. The context
of a single record, request or delivery is current all the same: it is passed on and logged.

A record's own context is passed on unchanged, to all that follows from the record. What has none
gets the context of the span that is current.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    get_current_span,
    set_span_in_context,
    use_span,
)
from structlog.contextvars import bound_contextvars

from shared.contracts.dead_letter import ConsumedRecord, Headers
from shared.contracts.headers import TRACEPARENT, TRACESTATE
from shared.contracts.trace import trace_of
from shared.observability import messaging

LINKS_MAX: Final = 128
"""Links of a batch's span, to different sampled traces: the SDK's own bound. One costs some µs, and
a batch of thousands of traced events would carry them all to a viewer that shows dozens."""

Attributes = Mapping[str, str | int]


@dataclass(slots=True)
class _Batch:
    """The records of the batch under way; looked through once something follows from them."""

    records: Sequence[ConsumedRecord]
    _found: dict[bytes | None, Headers] | None = field(default=None)

    def trace(self, key: bytes | None) -> Headers:
        """Return the context of the newest record with this key."""
        if self._found is None:
            self._found = {record.key: record.headers for record in self.records if record.headers}
        return trace_of(self._found.get(key, ()))


_BATCH: Final = ContextVar[_Batch | None]("batch", default=None)


@dataclass(slots=True)
class _Recorder:
    """Records spans once something has set `tracer`."""

    tracer: Tracer | None = None

    def span(
        self,
        name: str,
        kind: SpanKind,
        parent: Headers,
        attributes: Attributes,
        links: Sequence[Link] = (),
    ) -> Span:
        """Return a span; where none is recorded, one that only has the parent's context."""
        if self.tracer is None:
            return _remote(parent)
        within = set_span_in_context(_remote(parent), Context())
        return self.tracer.start_span(name, within, kind, dict(attributes), links)


_RECORDER: Final = _Recorder()


@contextmanager
def recorded_by(tracer: Tracer) -> Iterator[None]:
    """Record spans with this tracer within the block."""
    _RECORDER.tracer = tracer
    try:
        yield
    finally:
        _RECORDER.tracer = None


def here() -> Headers:
    """Returns the context that is current, as headers; empty where there is none."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return ()
    parent = b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)
    if not context.trace_state:
        return ((TRACEPARENT, parent),)
    return ((TRACEPARENT, parent), (TRACESTATE, context.trace_state.to_header().encode()))


def trace_for(key: bytes | None) -> Headers:
    """Returns the context of what follows for the customer with this key.

    It is that of the newest record with the key in the batch under way, else the current one.
    """
    batch = _BATCH.get()
    return (batch.trace(key) if batch is not None else ()) or here()


def begun(topic: str, records: Sequence[ConsumedRecord]) -> Span:
    """Returns the span of processing these records, to be ended by the caller.

    The context of a single record is its parent; several are linked, up to `LINKS_MAX`. `topic`:
    the first, where a batch of ingest has records of several.
    """
    alone = len(records) == 1
    parent = trace_of(records[0].headers) if alone else ()
    if _RECORDER.tracer is None:
        return _RECORDER.span("", SpanKind.CONSUMER, parent, {})
    said: dict[str, str | int] = {
        messaging.SYSTEM: messaging.KAFKA,
        messaging.OPERATION_TYPE: messaging.PROCESS,
        messaging.OPERATION: messaging.PROCESS,
        messaging.TOPIC: topic,
        messaging.COUNT: len(records),
    }
    if alone:
        said[messaging.PARTITION] = str(records[0].partition)
        said[messaging.OFFSET] = records[0].offset
    links = () if alone else _links(records)
    return _RECORDER.span(f"process {topic}", SpanKind.CONSUMER, parent, said, links)


@contextmanager
def about(headers: Headers) -> Iterator[None]:
    """Make the context among a record's headers current: of what is logged about it alone."""
    with use_span(_remote(trace_of(headers))):
        yield


@contextmanager
def current(span: Span) -> Iterator[None]:
    """Make a span the current one; an error ends it, with its class and without its text."""
    try:
        with use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    except BaseException as error:
        failed(span, type(error).__name__)
        span.end()
        raise


@contextmanager
def processing(topic: str, records: Sequence[ConsumedRecord]) -> Iterator[Span]:
    """Process a batch of a topic in the block; what follows from it finds its contexts.

    The caller ends the span: one that is never ended is not exported, as that of an idle turn.
    """
    span = begun(topic, records)
    token = _BATCH.set(_Batch(records))
    try:
        with bound_contextvars(**_place(topic, records)), current(span):
            yield span
    finally:
        _BATCH.reset(token)


@contextmanager
def requested(method: str, headers: Headers) -> Iterator[Span]:
    """Answer an HTTP request in the block, as a part of its sender's trace; the caller ends it."""
    said = {messaging.METHOD: method}
    span = _RECORDER.span(method, SpanKind.SERVER, trace_of(headers), said)
    with current(span):
        yield span


@contextmanager
def attempting(name: str, traceparent: str | None, attributes: Attributes) -> Iterator[Span]:
    """Attempt a delivery in the block, as a part of the trace that caused it."""
    parent = () if traceparent is None else trace_of(((TRACEPARENT, traceparent.encode()),))
    span = _RECORDER.span(name, SpanKind.CLIENT, parent, attributes)
    with current(span):
        yield span
        span.end()


def failed(span: Span, why: str) -> None:
    """Mark a span as failed; `why`: a class or an outcome, never a text."""
    span.set_attribute(messaging.ERROR, why)
    span.set_status(Status(StatusCode.ERROR))


def traceparent(trace: Headers) -> str | None:
    """Returns the traceparent among headers of `trace_for`; None where there is none."""
    return next((value.decode() for name, value in trace if name == TRACEPARENT and value), None)


def _remote(parent: Headers) -> Span:
    """Returns a span of another process, in checked headers; an invalid one where there is none."""
    context = _context_of(parent)
    return INVALID_SPAN if context is None else NonRecordingSpan(context)


def _context_of(trace: Headers) -> SpanContext | None:
    """Returns the context in checked headers."""
    found = {name: value.decode() for name, value in trace if value is not None}
    if not found:
        return None
    _, trace_id, span_id, flags = found[TRACEPARENT].split("-")
    state = TraceState.from_header([found[TRACESTATE]]) if TRACESTATE in found else None
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=state,
    )


def _links(records: Sequence[ConsumedRecord]) -> list[Link]:
    """Returns links to the different traces that are sampled: of others there is nothing to see."""
    found: dict[bytes | None, Link] = {}
    for record in records:
        trace = trace_of(record.headers)
        if not trace or trace[0][1] in found:
            continue
        context = _context_of(trace)
        if context is not None and context.trace_flags.sampled:
            found[trace[0][1]] = Link(context)
            if len(found) == LINKS_MAX:
                break
    return list(found.values())


def _place(topic: str, records: Sequence[ConsumedRecord]) -> dict[str, str | int]:
    """Returns what every line of the log names within a batch, as far as there is one place."""
    if not records:
        return {"topic": topic}
    first, last = records[0], records[-1]  # partition by partition
    place: dict[str, str | int] = {} if first.topic != last.topic else {"topic": topic}
    if (first.topic, first.partition) == (last.topic, last.partition):
        place["partition"] = first.partition
    if len(records) == 1:
        place["offset"] = first.offset
    return place
