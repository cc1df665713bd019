"""A webhook carries the trace context of what caused it, and nothing else of its sender's."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from services.alerts.delivery.core.endpoint import SIGNING, Endpoint, Secret
from services.alerts.delivery.core.retry import Reply
from services.alerts.delivery.ports import Leased
from services.alerts.delivery.webhook import Webhook
from shared.contracts.headers import TRACEPARENT, TRACESTATE
from shared.observability.tracing import attempting, recorded_by, requested
from tests.fakes.spans import Spans, parent

NOW = datetime(2026, 12, 1, tzinfo=UTC)
KEY = Secret(SIGNING, SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
MESSAGE = Leased(
    "ann", "msg_1", "crm", "rt_1", "retention_task.opened", b"{}", 0, uncertain=False,
    remote_id=None, token=UUID(int=1), until=NOW, received_ms=0,
)  # fmt: skip


class Http:
    """Keeps the headers of requests."""

    def __init__(self) -> None:
        self.headers: list[Mapping[str, str]] = []

    async def send(self, _: str, __: str, headers: Mapping[str, str], ___: bytes) -> Reply:
        self.headers.append(headers)
        return Reply(200)


async def sent(traceparent: str | None) -> Mapping[str, str]:
    """Return the headers of an attempt at a delivery with this context."""
    http: Any = Http()
    webhook = Webhook(Endpoint(id="crm", url="https://crm.test", secrets=(KEY,)), http)
    with attempting("send", traceparent, {}):
        assert (await webhook.send(MESSAGE, NOW)).result == "ok"
    headers: Mapping[str, str] = http.headers[0]
    assert headers["webhook-id"] == "msg_1"
    return headers


async def test_without_recorded_spans_the_context_is_passed_on() -> None:
    [(_, context)] = parent(8)
    assert context is not None
    assert (await sent(context.decode()))[TRACEPARENT] == context.decode()


async def test_a_recorded_attempt_is_the_parent_of_the_receivers_span() -> None:
    spans, [(_, context)] = Spans(), parent(8)
    assert context is not None
    with recorded_by(spans.tracer):
        headers = await sent(context.decode())
    span = spans.one()
    assert headers[TRACEPARENT] == f"00-{8:032x}-{span.context.span_id:016x}-01"


async def test_what_has_no_valid_context_is_sent_without_one() -> None:
    for unusable in (None, "", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        assert TRACEPARENT not in await sent(unusable)


async def test_the_trace_state_stays() -> None:
    http: Any = Http()
    webhook = Webhook(Endpoint(id="crm", url="https://crm.test", secrets=(KEY,)), http)
    with requested("POST", (*parent(8), (TRACESTATE, b"shop=secret"))):
        await webhook.send(MESSAGE, NOW)
    assert set(http.headers[0]) == {
        "content-type", "webhook-id", "webhook-timestamp", "webhook-signature", TRACEPARENT,
    }  # fmt: skip
