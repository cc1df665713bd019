"""Limits that apply to every request on every route, so that new routes are safe by default."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from shared.http import borders
from shared.http.access import held_by, require
from shared.http.app import create_app
from shared.http.borders import BodyRule, Limits
from shared.http.fields import Instant
from shared.http.holder import Holder
from shared.http.paging import Cursor, number, of_cursor, time, whole
from shared.http.problems import PROBLEM_JSON
from shared.kernel.errors import Transient
from shared.runtime.health import Health
from tests.fakes.asgi import call, gone, never, of, waiting
from tests.fakes.clock import SetClock

SMALL = BodyRule(bytes_max=1_000, seconds_max=0.5)


class Tokens:
    """`reader` may read, `writer` may write; `away` finds no database."""

    def __init__(self) -> None:
        self.asked = 0
        self.held = {
            "reader": Holder("crm", 1, frozenset({"customers:read"})),
            "writer": Holder("crm", 2, frozenset({"tasks:write"})),
        }

    async def holder_of(self, token: str, claim: str | None = None) -> Holder | None:
        assert claim is None
        self.asked += 1
        if token == "away":
            raise Transient("PostgreSQL is not there")
        return self.held.get(token)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def app(tokens: Tokens) -> FastAPI:
    """Provide routes without checks of their own."""
    limits = Limits(
        guard=tokens,
        open=("/open",),
        bodies={"/raw": BodyRule(bytes_max=2_000, raw=True), "/small": SMALL},
    )
    made = create_app("test", Health(SetClock()), limits)
    reads = [Depends(require(tokens, "customers:read"))]  # type: ignore[arg-type]

    @made.post("/v1/things/{thing}", dependencies=reads)
    async def change(thing: str, given: dict[str, Any], at: Instant | None = None) -> str:
        return f"{thing} {given} {at}"

    @made.get("/v1/things", dependencies=reads)
    async def things(cursor: Cursor = None) -> list[Any]:
        return [] if cursor is None else of_cursor(cursor, whole, number, time)

    @made.get("/unguarded")
    async def unguarded() -> str:
        return "nobody thought of a token"

    @made.post("/open")
    async def opened() -> str:
        return "anybody"

    @made.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @made.post("/small")
    async def small(request: Request) -> int:
        return len(await request.body())

    return made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client with a token that may read."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    bearer = {"Authorization": "Bearer reader"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=bearer
    ) as made:
        yield made


def problem(answer: httpx.Response, status: int) -> str:
    """Return the detail of a problem document with this status."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM_JSON)
    body = answer.json()
    assert body["status"] == status
    return str(body["detail"])


# The caller.


@pytest.mark.parametrize("path", ["/unguarded", "/v1/things", "/nowhere", "/openapi.json"])
async def test_every_route_that_is_not_open_requires_a_token(
    client: httpx.AsyncClient, path: str
) -> None:
    """This includes a route without a guard and a path that does not exist."""
    for header in ({"Authorization": ""}, {"Authorization": "Bearer unknown"}):
        answer = await client.get(path, headers=header)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_stranger_is_refused_before_the_body_is_read(app: FastAPI, tokens: Tokens) -> None:
    """No piece of the body is requested."""
    answer = await call(app, "/v1/things/7", pieces=never(), headers={"authorization": "Bearer x"})
    assert (answer["status"], tokens.asked) == (401, 1)


async def test_the_holder_is_looked_up_once(client: httpx.AsyncClient, tokens: Tokens) -> None:
    """The route's own guard checks only the scope."""
    assert (await client.post("/v1/things/7", json={})).status_code == 200
    assert tokens.asked == 1
    answer = await client.get("/v1/things", headers={"Authorization": "Bearer writer"})
    assert "customers:read" in problem(answer, 403)


async def test_no_database_is_no_stranger(client: httpx.AsyncClient) -> None:
    """The answer asks the caller to retry, and states when."""
    answer = await client.get("/v1/things", headers={"Authorization": "Bearer away"})
    problem(answer, 503)
    assert answer.headers["Retry-After"] == "5"


async def test_two_tokens_of_one_name_are_two(app: FastAPI, tokens: Tokens) -> None:
    """An idempotency key belongs to a token's id, not to its name."""
    seen: list[int] = []

    @app.get("/who")
    async def who(holder: Holder = Depends(held_by(tokens, "customers:read"))) -> None:  # type: ignore[arg-type] # noqa: B008
        seen.append(holder.token_id)

    tokens.held["other"] = Holder("crm", 3, frozenset({"customers:read"}))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        for token in ("reader", "other"):
            await made.get("/who", headers={"Authorization": f"Bearer {token}"})
    assert seen == [1, 3]


# The size.


async def test_size_by_its_announcement(app: FastAPI) -> None:
    """Nothing is read of a body with a declared size above the bound."""
    headers = {"content-length": str(10**12), "authorization": "Bearer reader"}
    answer = await call(app, "/v1/things/7", pieces=never(), headers=headers)
    assert answer["status"] == 413


async def test_size_in_pieces(app: FastAPI) -> None:
    """Of a body without a declared size, at most the bound and one piece is read."""
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b" " * 65_536

    answer = await call(
        app, "/v1/things/7", pieces=pieces(), headers={"authorization": "Bearer reader"}
    )
    assert (answer["status"], taken) == (413, 17)


async def test_each_route_has_a_bound(client: httpx.AsyncClient) -> None:
    """This includes routes that check the content themselves, to the byte."""
    assert (await client.post("/raw", content=b"x" * 2_000)).json() == 2_000
    problem(await client.post("/raw", content=b"x" * 2_001), 413)
    problem(await client.post("/open", content=b" " * (1024 * 1024 + 1)), 413)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, gzip"])
async def test_a_compressed_body_is_refused_unread(
    client: httpx.AsyncClient, encoding: str
) -> None:
    """A compressed body is not even opened; the answer lists what is accepted."""
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    for path in ("/v1/things/7", "/raw"):
        answer = await client.post(path, content=b"{}", headers=headers)
        assert "uncompressed" in problem(answer, 415)
        assert answer.headers["Accept-Encoding"] == "identity"


async def test_no_other_content(client: httpx.AsyncClient) -> None:
    """The answer 415 names the accepted type."""
    for media in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        headers = {"Content-Type": media}
        answer = await client.post("/v1/things/7", content=b"{}", headers=headers)
        assert "application/json" in problem(answer, 415)


async def test_a_body_that_drips(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is 408 after a pause, and after the whole time however steadily it drips."""
    bearer = {"authorization": "Bearer reader"}

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b" "

    answer = await call(app, "/small", pieces=dripping(), headers=bearer)
    assert answer["status"] == 408
    monkeypatch.setattr(borders, "IDLE_S_MAX", 0.01)
    answer = await call(app, "/small", pieces=waiting(), headers=bearer)
    assert answer["status"] == 408


async def test_a_sender_that_leaves(app: FastAPI) -> None:
    """Half a body is not a request."""
    answer = await call(app, "/raw", pieces=gone(), headers={"authorization": "Bearer reader"})
    assert answer["status"] == 400


async def test_requests_at_the_same_time_are_bounded(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow senders do not block others for long, and probes always come through."""
    monkeypatch.setattr(borders, "REQUESTS_MAX", 2)
    monkeypatch.setattr(borders, "IDLE_S_MAX", 0.1)
    bearer = {"authorization": "Bearer reader"}
    slow = [
        asyncio.create_task(call(app, "/raw", pieces=waiting(), headers=bearer)) for _ in range(2)
    ]
    await asyncio.sleep(0)
    full = await call(app, "/raw", pieces=waiting(), headers=bearer)
    assert (full["status"], full["headers"]["retry-after"]) == (503, "5")
    assert (await call(app, "/livez", method="GET"))["status"] == 200
    assert [answer["status"] for answer in await asyncio.gather(*slow)] == [408, 408]
    assert (await call(app, "/raw", headers=bearer))["status"] == 200


async def test_bytes_of_all_bodies_together_are_bounded(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound holds for all bodies together; each body's share is freed, whatever its result."""
    monkeypatch.setattr(borders, "BODIES_BYTES_MAX", 2_500)
    monkeypatch.setattr(borders, "IDLE_S_MAX", 0.1)
    bearer = {"authorization": "Bearer reader"}

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 1_500
        await asyncio.sleep(60)

    slow = asyncio.create_task(call(app, "/raw", pieces=stuck(), headers=bearer))
    for _ in range(5):
        await asyncio.sleep(0)
    assert (await call(app, "/raw", pieces=of(b"x" * 1_500), headers=bearer))["status"] == 503
    assert (await call(app, "/raw", pieces=of(b"x" * 900), headers=bearer))["status"] == 200
    assert (await slow)["status"] == 408
    for _ in range(5):
        assert (await call(app, "/raw", pieces=of(b"x" * 2_000), headers=bearer))["status"] == 200
        assert (await call(app, "/raw", pieces=of(b"x" * 2_100), headers=bearer))["status"] == 413


# The answer.


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/livez"), ("GET", "/nowhere"), ("GET", "/unguarded"), ("POST", "/unguarded")],
)
@pytest.mark.parametrize("token", ["reader", "unknown"])
async def test_headers_of_every_answer(
    client: httpx.AsyncClient, method: str, path: str, token: str
) -> None:
    """Answers are kept out of caches and frames, and their type is not guessed."""
    answer = await client.request(method, path, headers={"Authorization": f"Bearer {token}"})
    for name, value in borders.HEADERS.items():
        assert answer.headers[name] == value


async def test_allow_names_every_method(app: FastAPI, client: httpx.AsyncClient) -> None:
    """This includes a path with methods in routes of their own."""

    @app.put("/v1/things")
    async def put() -> None: ...

    answer = await client.delete("/v1/things")
    problem(answer, 405)
    assert answer.headers["Allow"] == "GET, PUT"


async def test_no_redirect_to_a_forged_host(client: httpx.AsyncClient) -> None:
    """A path with one slash too many does not exist."""
    answer = await client.get("/v1/things/", headers={"Host": "evil.example"})
    assert answer.status_code in {404, 405}
    assert "location" not in answer.headers


async def test_the_document_lists_every_refusal(app: FastAPI) -> None:
    """They are problem documents, on every operation."""
    document = app.openapi()
    for operations in document["paths"].values():
        for method, operation in operations.items():
            wanted = {"401", "403", "404", "405", "409", "422", "503"}
            wanted |= {"408", "413", "415"} if method == "post" else set()
            assert wanted <= operation["responses"].keys()
            for status in wanted:
                refusal = f"#/components/responses/Refused{status}"
                assert operation["responses"][status] == {"$ref": refusal}
    for refusal in document["components"]["responses"].values():
        assert list(refusal["content"]) == [PROBLEM_JSON]
    assert "HTTPValidationError" not in json.dumps(document)


# Any request.


def requests(seed: int, count: int) -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    """Return method, path, headers and body, made of parts with faults."""
    dice = random.Random(seed)  # noqa: S311 (not a secret)
    odd = ["%00", "%ff", "%ed%a0%80", "..", "", "a" * 300, "%F0%9F%98%80", "%2e%2e", "9" * 5_000]
    bodies = [
        b"", b"{}", b"[]", b"null", b"{", rb'{"text": "\u0000"}', rb'{"at": "\ud800"}',
        b'{"rest": ' + b"9" * 5_000 + b"}", b"[" * 5_000, b"\x00", b"\xff\xfe", b"\x1f\x8b",
        b'{"at": "9999-12-31T23:59:59-23:59"}', b'{"zone": "America"}', b"x" * 3_000,
    ]  # fmt: skip
    media = ["application/json", "text/plain", "", "application/json;charset=utf-16", "\x7f"]
    for _ in range(count):
        path = dice.choice(["/v1/things", "/raw", "/open", "/small", "/unguarded", "/openapi.json"])
        path += dice.choice(["", "/", f"/{dice.choice(odd)}", f"?cursor={dice.choice(odd)}"])
        path += dice.choice(["", f"?at={dice.choice(odd)}", f"?word={dice.choice(odd)}&word=2"])
        headers = {"authorization": dice.choice(["Bearer reader", "Bearer x", "", "Basic x"])}
        headers["content-type"] = dice.choice(media)
        if dice.random() < 0.1:
            headers["content-encoding"] = "gzip"
        yield dice.choice(["GET", "POST", "PUT", "DELETE"]), path, headers, dice.choice(bodies)


async def test_no_request_is_answered_with_500(app: FastAPI) -> None:
    """Runs four thousand requests, always the same."""
    for method, path, headers, body in requests(7, 4_000):
        answer = await call(app, path, method=method, headers=headers, pieces=of(body))
        assert answer["status"] < 500, (method, path, headers, body)
