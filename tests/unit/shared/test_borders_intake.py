"""What only some paths take: compressed bodies, Basic authentication, few requests at once."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Request

from shared.http.app import create_app
from shared.http.borders import BodyRule, Limits
from shared.runtime.health import Health
from tests.fakes.clock import SetClock
from tests.unit.shared.test_borders import Tokens, problem


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
async def client(tokens: Tokens) -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client with a token that may read."""
    limits = Limits(
        guard=tokens,
        basic=("/basic",),
        bodies={
            "/raw": BodyRule(bytes_max=2_000, raw=True),
            "/basic": BodyRule(bytes_max=2_000, raw=True, gzip=True),
        },
    )
    made = create_app("test", Health(SetClock()), limits)

    @made.post("/basic")
    async def basic(request: Request) -> int:
        return len(await request.body())

    @made.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    transport = httpx.ASGITransport(app=made, raise_app_exceptions=False)
    bearer = {"Authorization": "Bearer reader"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=bearer
    ) as client:
        yield client


async def test_compression_where_it_is_taken(client: httpx.AsyncClient) -> None:
    """The route gets the decompressed body, within the same bound; other encodings are named."""
    zipped, headers = gzip.compress(b"x" * 2_000), {"Content-Encoding": "gzip"}
    assert (await client.post("/basic", content=zipped, headers=headers)).json() == 2_000
    for body, status, cause in (
        (gzip.compress(b"x" * 2_001), 413, "2,000 bytes"),
        (gzip.compress(b"x" * 10_000_000), 413, "2,000 bytes"),
        (zipped[:-1], 422, "ends early"),
        (b"x", 422, "not gzip"),
    ):
        answer = await client.post("/basic", content=body, headers=headers)
        assert cause in problem(answer, status)
    other = await client.post("/basic", content=zipped, headers={"Content-Encoding": "br"})
    assert "gzip" in problem(other, 415)
    assert other.headers["Accept-Encoding"] == "gzip, identity"


async def test_a_token_as_user_name(client: httpx.AsyncClient) -> None:
    """Only where a path takes it; the password, which clients leave empty, counts for nothing."""
    for path, user, status in (
        ("/basic", "reader", 200), ("/basic", "stranger", 401), ("/raw", "reader", 401),
        ("/basic", "", 401), ("/basic", "away", 503),
    ):  # fmt: skip
        answer = await client.post(path, content=b"x", auth=(user, ""))
        assert answer.status_code == status, (path, user)
    made_up = {b"Authorization": "Basic é".encode()}
    answer = await client.post("/basic", content=b"x", headers=made_up)
    assert "token as user name" in problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert (await client.post("/basic", content=b"x")).json() == 1, "a Bearer token counts too"


async def test_so_many_requests_of_a_kind(tokens: Tokens) -> None:
    """Those of other paths are not concerned, and a place becomes free again."""
    held = asyncio.Event()
    limits = Limits(guard=tokens, bodies={"/few": BodyRule(at_once_max=1)})
    made = create_app("test", Health(SetClock()), limits)

    @made.post("/few")
    async def few() -> str:
        await held.wait()
        return "done"

    @made.post("/many")
    async def many() -> str:
        return "done"

    transport = httpx.ASGITransport(app=made)
    bearer = {"Authorization": "Bearer reader"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=bearer
    ) as client:
        first = asyncio.create_task(client.post("/few"))
        await asyncio.sleep(0.01)
        assert (await client.post("/few")).status_code == 503
        assert (await client.post("/many")).status_code == 200
        held.set()
        assert (await first).status_code == 200
        assert (await client.post("/few")).status_code == 200
