"""One event with a trace context, followed through the real services to the webhook's header."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from shared.contracts.headers import TRACEPARENT, TRACESTATE
from shared.contracts.topics import RAW
from shared.kafka.producer import Producer, Record
from tests.e2e.services_on_history import World
from tests.fakes.otlp import OtlpReceiver, ReceivedSpan, otlp_receiver

pytestmark = pytest.mark.timeout(200)

LIMIT_S = 60.0
"""Longest wait for anything, in seconds: far above what is needed."""
PURCHASES = 10
"""One a week until 17 days ago: a rhythm, and a silence beyond it that leads to a task."""
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PERSONAL = "ann@example.com"
SERVICES = {"ebbwatch-ingest", "ebbwatch-scoring", "ebbwatch-alerts"}


def purchases(customer: str, **headers: str) -> list[Record]:
    """Build events that lead to a task, all with these headers."""
    sent = tuple((name, text.encode()) for name, text in headers.items())
    event = {
        "specversion": "1.0", "type": "io.ebbwatch.purchase", "source": "/shop",
        "subject": customer, "data": {"amount": "230.45", "currency": "USD"},
    }  # fmt: skip
    times = [datetime.now(UTC) - timedelta(days=17 + 7 * n) for n in reversed(range(PURCHASES))]
    events = [event | {"id": at.isoformat(), "time": at.isoformat()} for at in times]
    return [Record(RAW.name, customer.encode(), orjson.dumps(each), sent) for each in events]


async def webhooks(world: World) -> dict[str, str]:
    """Return the trace context with which the task of each customer arrived."""
    return {
        each.message.task.customer.id: each.traceparent or "none"
        for each in await world.received()
        if each.message.type == "retention_task.opened"
    }


async def spans_of(world: World, receiver: OtlpReceiver, trace: str) -> list[ReceivedSpan]:
    """Return the spans that are in a trace or linked to it, once each service has sent one."""

    def found() -> list[ReceivedSpan]:
        return [span for span in list(receiver.spans) if span.concerns(trace)]

    async def complete() -> bool:
        sent = [span for span in found() if span.name == "send retention_task.opened"]
        return bool(sent) and {span.service for span in found()} == SERVICES

    await world.services.wait(complete, f"the spans of {trace}", LIMIT_S)
    return found()


async def test_an_event_is_followed_to_its_webhook(
    folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender's trace goes on; where there is none, or nonsense, a new one begins at intake."""
    with otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        async with World.open(folder, environ, clock="live") as world:
            producer = Producer(world.stack.kafka.settings, "test")
            context = {
                TRACEPARENT: f"00-{TRACE}-{SPAN}-01", TRACESTATE: "shop=1",
                "baggage": f"customer={PERSONAL}",
            }  # fmt: skip
            await producer.send(
                [
                    *purchases("traced", **context),
                    *purchases("untraced"),
                    *purchases("broken", traceparent=f"00-{TRACE}-{SPAN}-XX", baggage=PERSONAL),
                ]
            )
            await producer.close()

            async def delivered() -> bool:
                return len(await webhooks(world)) == 3

            await world.services.wait(delivered, "three webhooks", LIMIT_S)
            contexts = await webhooks(world)

            _, trace, parent, flags = contexts["traced"].split("-")
            assert (trace, flags) == (TRACE, "01")
            spans = await spans_of(world, receiver, TRACE)
            [sent] = [span for span in spans if span.name == "send retention_task.opened"]
            assert (sent.span_id, sent.parent_id) == (parent, SPAN)
            assert {f"process {name}" for name in (
                "ebbwatch.raw", "ebbwatch.activity", "ebbwatch.risk"
            )} <= {span.name for span in spans}  # fmt: skip

            for customer in ("untraced", "broken"):
                _, trace, *_ = contexts[customer].split("-")
                assert trace != TRACE
                first = [s for s in await spans_of(world, receiver, trace) if s.trace_id == trace]
                assert "process ebbwatch.raw" in {span.name for span in first}
    bodies = b"".join(receiver.bodies)
    assert PERSONAL.encode() not in bodies
    assert b"traced" not in bodies, "a span names no customer"
