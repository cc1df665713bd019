"""Connections: none stays half open, and a flood of them does not shut out the probes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable

import httpx
import pytest

from deploy.local.waiting import LOOPBACK, free_port
from shared.http.app import create_app
from shared.runtime import protocol
from shared.runtime.health import Health
from shared.runtime.service import Stop, run
from shared.runtime.settings import HttpSettings
from tests.fakes.clock import SetClock

LIMIT_S = 20.0


async def beside(work: Callable[[int], Awaitable[None]]) -> None:
    """Run this while a service listens on the port that it receives."""
    port = free_port()
    health = Health(SetClock())

    async def loop(stop: Stop) -> None:
        try:
            await work(port)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await stop.wait()

    async with asyncio.timeout(LIMIT_S):
        app = create_app("test", health)
        assert await run({"work": loop}, app, HttpSettings(port=port), health) == 0


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Return what came until the other side closed."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


@pytest.mark.parametrize("head", [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\nX: "])
async def test_half_a_request_is_not_waited_for(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule holds however slowly the request drips."""
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.3)

    async def work(port: int) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(head)
        ended = asyncio.create_task(closed(reader))
        for _ in range(60):
            if ended.done():
                break
            if head:
                writer.write(b"a")
            await asyncio.sleep(0.02)
        assert await ended == b""
        writer.close()

    await beside(work)


async def test_an_unread_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the refusal, the rest of the body has the time limit of a head, and uses no memory."""
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.3)

    async def work(port: int) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n")
        # Read before more is sent: the reset that ends the connection may drop unread bytes.
        assert b"413" in await reader.readline()
        ended = asyncio.create_task(closed(reader))
        with contextlib.suppress(ConnectionError):
            while not ended.done():
                writer.write(b"a" * 1_000)
                await asyncio.sleep(0.02)
        await ended
        writer.close()

    await beside(work)


async def test_a_flood_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections that have waited longest are closed; a probe comes through."""
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 20)

    async def work(port: int) -> None:
        opened = [await asyncio.open_connection(LOOPBACK, port) for _ in range(60)]
        async with httpx.AsyncClient() as client:
            for _ in range(3):
                answer = await client.get(f"http://{LOOPBACK}:{port}/livez")
                assert answer.status_code == 200
        async with asyncio.timeout(5):
            await asyncio.gather(*(closed(reader) for reader, _ in opened[:35]))
        for _, writer in opened:
            writer.close()

    await beside(work)


async def test_a_kept_connection_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may idle for longer than a head may take: only a request that has begun has that limit."""
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.2)

    async def work(port: int) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        for _ in range(3):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"server:" not in head.lower()
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(0.3)
        writer.close()

    await beside(work)


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/nowhere"])
async def test_a_body_with_two_lengths_smuggles_nothing(path: str) -> None:
    """The request is refused and the connection closed.

    What follows is not read as a request, on any path.
    """

    async def work(port: int) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = await closed(reader)
        assert answers.count(b"HTTP/1.1 ") == 1
        assert answers.startswith(b"HTTP/1.1 400 ")
        writer.close()

    await beside(work)
