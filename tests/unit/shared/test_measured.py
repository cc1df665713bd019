"""Requests are counted by the template of their route, whatever a sender asks for."""

from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import REGISTRY

from shared.http.app import create_app
from shared.http.borders import Limits
from shared.observability import messaging
from shared.observability.service_metrics import ServiceMetrics
from shared.observability.tracing import recorded_by
from shared.runtime.health import Health
from tests.fakes.clock import SetClock
from tests.fakes.spans import Spans, parent

METRICS = ServiceMetrics("measured", "its end", ("all",))


class Refusing:
    """A guard that knows no token."""

    async def holder_of(self, token: str, claim: str | None = None) -> None:
        del token, claim


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client of an application with a route that ends well, and one that does not."""
    limits = Limits(guard=Refusing(), open=("/v1/open", "/metrics"))
    app = create_app("test", Health(SetClock()), limits, metrics=METRICS)

    @app.get("/v1/open/{name}")
    async def opened(name: str) -> str:
        if name == "bug":
            raise KeyError(name)
        return name

    @app.post("/v1/closed/{name}", status_code=201)
    async def closed(name: str) -> str:
        return name

    app.measure()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


def count(route: str, method: str, status: int) -> float | None:
    """Return how many such requests were counted; None: there is no such series."""
    labels = {"route": route, "method": method, "status": str(status)}
    return REGISTRY.get_sample_value("ebbwatch_measured_http_requests_total", labels)


async def test_requests_are_counted_by_template(client: httpx.AsyncClient) -> None:
    """Not by path; also those that fail, that are refused before their route, and of no route."""
    assert count("/v1/open/{name}", "GET", 200) == 0
    assert count("/v1/closed/{name}", "POST", 201) == 0
    assert count("/v1/closed/{name}", "POST", 503) == 0
    for name in ("ann", "bob", "bug"):
        await client.get(f"/v1/open/{name}")
    assert (await client.post("/v1/closed/ann", json={})).status_code == 401
    assert (await client.get("/v1/open")).status_code == 404
    assert (await client.request("BREW", "/v1/open/ann")).status_code == 405
    assert count("/v1/open/{name}", "GET", 200) == 2
    assert count("/v1/open/{name}", "GET", 500) == 1
    assert count("/v1/closed/{name}", "POST", 401) == 1
    assert count("unmatched", "GET", 404) == 1
    assert count("/v1/open/{name}", "other", 405) == 1
    timed = REGISTRY.get_sample_value(
        "ebbwatch_measured_http_request_seconds_count",
        {"route": "/v1/open/{name}", "method": "GET"},
    )
    assert timed == 3


async def test_requests_are_traced_by_template(client: httpx.AsyncClient) -> None:
    """As a part of the sender's trace; probes, scrapes and strangers leave no span."""
    spans, [(name, context)] = Spans(), parent(6)
    headers = {name: (context or b"").decode()}
    with recorded_by(spans.tracer):
        for path in ("/livez", "/metrics", "/v1/nowhere"):
            await client.get(path, headers=headers)
        assert spans.ended() == []
        assert (await client.get("/v1/open/ann", headers=headers)).status_code == 200
        assert (await client.post("/v1/closed/ann")).status_code == 401
        await client.get("/v1/open/bug")
    well, refused, bug = spans.ended()
    assert (well.name, refused.name) == ("GET /v1/open/{name}", "POST /v1/closed/{name}")
    assert well.parent is not None
    assert (well.parent.trace_id, refused.parent) == (6, None)
    for span, status in ((well, 200), (refused, 401), (bug, 500)):
        assert (span.attributes or {})[messaging.STATUS] == status
        assert "ann" not in span.to_json()


async def test_a_scraper_may_ask_for_openmetrics(client: httpx.AsyncClient) -> None:
    """Both formats hold the same series."""
    plain = await client.get("/metrics")
    asked = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}
    other = await client.get("/metrics", headers=asked)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert other.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert other.text.endswith("# EOF\n")
    for text in (plain.text, other.text):
        assert "ebbwatch_measured_build_info{" in text


async def test_a_traced_request_is_an_exemplar_of_its_duration(client: httpx.AsyncClient) -> None:
    """By its `traceparent`; a malformed one is none."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    for name, traceparent in (
        ("ann", f"00-{trace_id}-00f067aa0ba902b7-01"),
        ("bob", f"é-{trace_id}"),
    ):
        sent = {b"traceparent": traceparent.encode()}
        assert (await client.get(f"/v1/open/{name}", headers=sent)).status_code == 200
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = (await client.get("/metrics", headers=asked)).text
    traced = [line for line in text.splitlines() if f'# {{trace_id="{trace_id}"}}' in line]
    assert len(traced) == 1
    assert 'route="/v1/open/{name}"' in traced[0]
