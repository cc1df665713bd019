"""A connection accepts one bounded answer for each request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from services.alerts.delivery.connection import HEAD_BYTES_MAX, Connection
from services.alerts.delivery.core.retry import Reply, read
from services.alerts.delivery.http_client import Http
from shared.runtime.clock import SystemClock

Writing = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Answers request number n, from 0, of a connection."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
FAILED = b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
REQUESTS = 8
"""The number of concurrent requests."""


@asynccontextmanager
async def answered_by(write: Writing) -> AsyncIterator[tuple[Http, str, list[int]]]:
    """Provide a client, an address, and the number of requests on each connection."""
    counts: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(counts)
        counts.append(0)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(1)
                counts[place] += 1
                await write(writer, counts[place] - 1)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client closed it
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    allowed = (ip_network("127.0.0.0/8"),)
    async with server, Http(timeout_s=5, allowed=allowed, clock=SystemClock()) as http:
        yield http, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", counts


async def asked(http: Http, url: str) -> Reply:
    return await http.send("POST", url, {}, b"x")


async def test_an_ordinary_connection_is_kept() -> None:
    async def write(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(INTERIM * 3 + OK)

    async with answered_by(write) as (http, url, counts):
        for _ in range(3):
            assert read(await asked(http, url)).result == "ok"
        assert counts == [3]


@pytest.mark.parametrize("final", [b"", OK])
@pytest.mark.parametrize("piece", [1, 1_000])
async def test_a_flood_of_interim_answers_ends_the_request_after_few_of_them(
    piece: int, final: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood that is not read cannot delay the event loop, which the whole service shares."""
    heads = 0
    feed_data = Connection.feed_data

    def count(self: Connection, data: Any, size: int = 0) -> None:
        nonlocal heads
        heads += 1
        feed_data(self, data, size)

    monkeypatch.setattr(Connection, "feed_data", count)

    async def write(writer: asyncio.StreamWriter, _: int) -> None:
        for _ in range(100_000 // piece):
            writer.write(INTERIM * piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(final)

    async with answered_by(write) as (http, url, _):
        replies = await asyncio.gather(*(asked(http, url) for _ in range(REQUESTS)))
        assert {read(reply).result for reply in replies} == {"ambiguous"}
        assert all("the connection broke" in str(reply.error) for reply in replies)
    assert heads <= REQUESTS * HEAD_BYTES_MAX / len(INTERIM)


async def test_a_large_body_behind_a_head_is_read() -> None:
    body = b"x" * (3 * HEAD_BYTES_MAX)

    async def write(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with answered_by(write) as (http, url, _):
        reply = await http.send("POST", url, {}, b"x", bytes_max=len(body) + 1)
        assert reply.body == body


@pytest.mark.parametrize("wait_s", [0.0, 0.3])
@pytest.mark.parametrize("late_s", [0.0, 0.1])
@pytest.mark.parametrize("stray", [OK, OK * 50, b"\r\n", b"HTTP/1.1 2", b"\0" * 10])
async def test_what_answers_no_request_is_never_the_answer_to_the_next(
    stray: bytes, late_s: float, wait_s: float
) -> None:
    """A refusal is followed by an unrequested success; the next request is refused, too."""

    async def write(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(FAILED)
        await asyncio.sleep(late_s)
        writer.write(stray)

    async with answered_by(write) as (http, url, counts):
        for _ in range(4):
            reply = await asked(http, url)
            assert read(reply).result != "ok", reply
            await asyncio.sleep(wait_s)
        assert counts == [1, 1, 1, 1]


@pytest.mark.parametrize("stray", [OK, OK * 50, b"\r\n", b"\0" * 10])
async def test_a_connection_on_which_more_came_than_was_asked_for_is_not_used_again(
    stray: bytes,
) -> None:
    async def write(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(OK)
        await asyncio.sleep(0.1)
        writer.write(stray)

    async with answered_by(write) as (http, url, counts):
        for _ in range(4):
            assert read(await asked(http, url)).result == "ok"
            await asyncio.sleep(0.3)
        assert counts == [1, 1, 1, 1]
