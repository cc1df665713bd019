"""Spans of batches, requests and deliveries, and the context of what follows from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from structlog.contextvars import get_contextvars

from shared.contracts.dead_letter import Headers
from shared.contracts.headers import TRACEPARENT, TRACESTATE
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.worker import traced
from shared.observability import messaging, tracing
from shared.postgres.ledger import Claim, Move
from tests.fakes.spans import Spans, parent

SECRET = "customer 42 has paid"


@dataclass(slots=True)
class Seen:
    """A consumed record."""

    offset: int
    headers: Headers = ()
    key: bytes | None = None
    topic: str = "activity"
    partition: int = 3
    timestamp: int = 0
    value: bytes | None = None


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Provide a recorder of all spans."""
    made = Spans()
    with tracing.recorded_by(made.tracer):
        yield made


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.trace_id for link in span.links]


def said(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


def test_a_single_record_is_the_parent(spans: Spans) -> None:
    record = Seen(7, (*parent(5), (TRACESTATE, b"a=1")))
    with tracing.processing("activity", [record]) as span:
        within = tracing.here()
        span.end()
    ended = spans.one()
    assert (ended.name, linked(ended)) == ("process activity", [])
    assert ended.parent is not None
    assert (ended.parent.trace_id, ended.parent.span_id, ended.parent.is_remote) == (5, 5, True)
    assert (said(ended, messaging.PARTITION), said(ended, messaging.OFFSET)) == ("3", 7)
    assert within[0][1] == b"00-%032x-%016x-01" % (5, ended.context.span_id)
    assert within[1] == (TRACESTATE, b"a=1")


def test_several_records_are_linked_once_for_each_sampled_trace(spans: Spans) -> None:
    headers = [parent(1), (), parent(2, "00"), parent(1), parent(3), ((TRACEPARENT, b"?"),)]
    with tracing.processing("activity", [Seen(n, h) for n, h in enumerate(headers)]) as span:
        span.end()
    ended = spans.one()
    assert (ended.parent, linked(ended)) == (None, [1, 3])
    assert said(ended, messaging.COUNT) == 6


def test_links_are_bounded(spans: Spans) -> None:
    records = [Seen(n, parent(n + 1)) for n in range(3 * tracing.LINKS_MAX)]
    with tracing.processing("activity", records) as span:
        span.end()
    assert linked(spans.one()) == list(range(1, tracing.LINKS_MAX + 1))


def test_what_follows_has_the_context_of_its_customers_newest_record(spans: Spans) -> None:
    """Else that of the batch, and outside of one none."""
    records = [
        Seen(0, parent(1), b"ann"),
        Seen(1, parent(2), b"ann"),
        Seen(2, (), b"ann"),
        Seen(3, (), b"bob"),
        Seen(4, ((TRACEPARENT, b"nonsense"),), b"eve"),
    ]
    with tracing.processing("activity", records) as span:
        assert tracing.trace_for(b"ann") == parent(2)
        for key in (b"bob", b"eve", b"joe", None):
            assert tracing.trace_for(key) == tracing.here() != ()
        span.end()
    assert len(spans.ended()) == 1
    assert tracing.trace_for(b"ann") == tracing.here() == ()


def test_without_a_receiver_only_what_is_known_is_passed_on() -> None:
    with tracing.processing("activity", [Seen(0, parent(1), b"ann"), Seen(1, (), b"bob")]):
        assert (tracing.trace_for(b"ann"), tracing.trace_for(b"bob")) == (parent(1), ())
    with tracing.processing("activity", [Seen(0, parent(1), b"ann")]):
        assert tracing.here() == parent(1)
    with tracing.requested("POST", (*parent(4), ("baggage", SECRET.encode()))):
        assert tracing.here() == parent(4)
    with tracing.attempting("send", "nonsense", {}):
        assert tracing.here() == ()


def test_a_delivery_goes_on_with_the_trace_that_caused_it(spans: Spans) -> None:
    text = tracing.traceparent(parent(9))
    with tracing.attempting("send", text, {messaging.ATTEMPT: 1}):
        within = tracing.here()
    ended = spans.one()
    assert ended.parent is not None
    assert ended.parent.trace_id == 9
    assert within == ((TRACEPARENT, b"00-%032x-%016x-01" % (9, ended.context.span_id)),)


def test_an_error_ends_the_span_without_its_text(spans: Spans) -> None:
    with (
        pytest.raises(ValueError, match=SECRET),
        tracing.processing("activity", [Seen(0, parent(1))]),
    ):
        raise ValueError(SECRET)
    ended = spans.one()
    assert said(ended, messaging.ERROR) == "ValueError"
    assert not ended.status.is_ok
    assert SECRET not in ended.to_json()


async def test_a_turn_without_records_leaves_a_span_only_where_it_did_something(
    spans: Spans,
) -> None:
    claim = Claim("activity", 3, 1, 0, None)
    made: list[Move] = []

    async def handle(_: Batch) -> list[Move]:
        return made

    idle = Batch({("activity", 3): claim}, {}, {})
    await traced(handle)(idle)
    assert spans.ended() == []
    made.append(Move(claim, 0, None, {}))
    assert await traced(handle)(idle) == made
    assert said(spans.one(), messaging.COUNT) == 0
    records: list[ConsumedRecord] = [Seen(0)]
    made.clear()
    await traced(handle)(Batch(idle.claims, {("activity", 3): records}, {}))
    assert len(spans.ended()) == 2


def test_the_log_names_the_place_within_a_batch() -> None:
    with tracing.processing("activity", [Seen(7)]):
        assert get_contextvars() == {"topic": "activity", "partition": 3, "offset": 7}
    with tracing.processing("activity", [Seen(7), Seen(8)]):
        assert get_contextvars() == {"topic": "activity", "partition": 3}
    with tracing.processing("activity", [Seen(7), Seen(8, partition=4)]):
        assert get_contextvars() == {"topic": "activity"}
    with tracing.processing("activity", [Seen(7), Seen(7, topic="other")]):
        assert get_contextvars() == {}
    assert get_contextvars() == {}


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_sender_decides_whether_its_trace_is_recorded(flags: str) -> None:
    none = Spans(share=0.0)
    with tracing.recorded_by(none.tracer):
        with tracing.processing("activity", [Seen(0, parent(1, flags))]) as span:
            span.end()
        with tracing.processing("activity", [Seen(0, parent(1, flags)), Seen(1)]) as span:
            span.end()
        with tracing.processing("activity", [Seen(0), Seen(1)]) as span:
            assert tracing.here()[0][1] is not None, "a trace has its id also where it is not kept"
            span.end()
    assert len(none.ended()) == (2 if flags == "01" else 0)
