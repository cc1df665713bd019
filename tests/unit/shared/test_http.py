"""The HTTP interface of every service: probes, metrics, and errors as problem documents."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from prometheus_client import Counter

from shared.http.app import create_app
from shared.http.problems import PROBLEM_JSON
from shared.kernel.errors import Invalid, Transient
from shared.runtime.health import STALL_SECONDS_MAX, Health
from tests.fakes.clock import SetClock

SEEN = Counter("ebbwatch_test_seen", "Something that a test counted")


@pytest.fixture
def clock() -> SetClock:
    """Provide the clock of heartbeats."""
    return SetClock()


@pytest.fixture
def health(clock: SetClock) -> Health:
    """Provide the health of a service that has started."""
    made = Health(clock)
    made.started = True
    return made


@pytest.fixture
def app(health: Health) -> FastAPI:
    """Provide an application with a route for each kind of error."""
    made = create_app("test", health)

    @made.get("/invalid")
    async def invalid() -> None:
        raise Invalid("data.amount", "not a number")

    @made.get("/transient")
    async def transient() -> None:
        raise Transient("PostgreSQL at 10.1.2.3 is not there")

    @made.get("/refused")
    async def refused() -> None:
        raise HTTPException(409, "already done", {"X-Why": "because"})

    @made.get("/bug")
    async def bug() -> None:
        raise KeyError("10.1.2.3")

    @made.get("/typed/{number}")
    async def typed(number: int) -> int:
        return number

    return made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client without a network."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


async def test_live_looks_at_loops_and_at_nothing_else(
    client: httpx.AsyncClient, health: Health, clock: SetClock
) -> None:
    """Missing dependencies do not make a service dead.

    A loop that stands still does, until it moves or has ended on purpose.
    """

    async def missing() -> str | None:
        return "PostgreSQL is not there"

    health.add_check("postgres", missing)
    health.beat("activity")
    health.beat("model")
    assert (await client.get("/livez")).status_code == 200
    clock.seconds += STALL_SECONDS_MAX
    health.beat("model")
    assert (await client.get("/livez")).status_code == 200
    clock.seconds += 1
    answer = await client.get("/livez")
    assert answer.status_code == 503
    assert answer.json() == {"stalled": {"activity": STALL_SECONDS_MAX + 1}}
    health.ended("activity")
    assert (await client.get("/livez")).status_code == 200


async def test_ready_lists_what_is_missing(client: httpx.AsyncClient, health: Health) -> None:
    """The answer lists every check that fails, in words, and none of the others."""
    state: dict[str, str | None] = {"kafka": "no broker", "postgres": None, "model": "none"}

    def check(name: str) -> None:
        async def look() -> str | None:
            return state[name]

        health.add_check(name, look)

    for name in state:
        check(name)
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"missing": {"kafka": "no broker", "model": "none"}}
    state.update(kafka=None, model=None)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"missing": {}})


async def test_a_service_is_not_ready_before_its_loops_run(
    client: httpx.AsyncClient, health: Health
) -> None:
    """Before the loops run the service is neither started nor ready."""
    health.started = False
    assert (await client.get("/startupz")).status_code == 503
    assert (await client.get("/readyz")).json() == {"missing": {"startup": "still starting"}}
    assert (await client.get("/livez")).status_code == 200
    health.started = True
    assert (await client.get("/startupz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200


async def test_the_metrics_are_in_the_text_format(client: httpx.AsyncClient) -> None:
    """The metrics are in the text format, without series about when a counter was created."""
    SEEN.inc(3)
    text = (await client.get("/metrics")).text
    assert "ebbwatch_test_seen_total 3.0" in text
    assert "_created" not in text


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/invalid", 422, "data.amount: not a number"),
        ("/transient", 503, "try again shortly"),
        ("/refused", 409, "already done"),
        ("/typed/seven", 422, "path.number: Input should be a valid integer"),
        ("/nowhere", 404, "Not Found"),
        ("/bug", 500, "a fault of this service"),
    ],
)
async def test_errors_are_problem_documents(
    client: httpx.AsyncClient, path: str, status: int, detail: str
) -> None:
    """RFC 9457 applies to our errors and to those of the framework and of its router."""
    answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == PROBLEM_JSON
    body = answer.json()
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert body["detail"].startswith(detail)
    assert body["title"]
    assert "10.1.2.3" not in answer.text


async def test_headers_of_a_refusal_are_kept(client: httpx.AsyncClient) -> None:
    """Headers that the error carries are sent; a wrong method names the right ones."""
    assert (await client.get("/refused")).headers["X-Why"] == "because"
    assert (await client.get("/transient")).headers["Retry-After"] == "5"
    answer = await client.post("/refused")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    assert answer.headers["Content-Type"] == PROBLEM_JSON


async def test_no_pages_of_the_framework(client: httpx.AsyncClient) -> None:
    """The framework's interactive documentation would load scripts from elsewhere."""
    assert (await client.get("/docs")).status_code == 404
    assert (await client.get("/redoc")).status_code == 404
