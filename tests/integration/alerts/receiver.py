"""A receiver of webhooks on loopback with answers that a test sets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from standardwebhooks import Webhook

LIMIT_S = 45.0
"""Longest wait for anything, in seconds: far above what is needed, below the test's limit."""

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def task(self) -> dict[str, Any]:
        """Return the task after verifying its signature."""
        message = Webhook(SECRET).verify(self.body, self.headers)
        assert message["type"].startswith("retention_task.")
        task: dict[str, Any] = message["data"]["task"]
        return task

    @property
    def type(self) -> str:
        decoded: dict[str, str] = msgspec.json.decode(self.body)
        return decoded["type"]


Answering = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def reply(status: int, body: bytes = b"", **headers: str) -> Answering:
    """Return an answer with this status, sent at once."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


async def hang(_: Request, __: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def reset(_: Request, writer: asyncio.StreamWriter) -> None:
    """Reset the connection without an answer."""
    writer.transport.abort()


@dataclass(slots=True)
class Receiver:
    """Keeps what arrives.

    The answers come from `answers` in order, then always from `otherwise`.
    """

    url: str = ""
    answers: list[Answering] = field(default_factory=list)
    otherwise: Answering = field(default_factory=lambda: reply(204))
    requests: list[Request] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def got(self, count: int) -> list[Request]:
        """Wait until `count` requests have arrived."""
        async with asyncio.timeout(LIMIT_S), self._news:
            await self._news.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await _read(reader)
                answer = self.answers.pop(0) if self.answers else self.otherwise
                async with self._news:
                    self.requests.append(request)
                    self._news.notify_all()
                await answer(request, writer)
                await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    path = head[0].split(" ")[1]
    fields = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(path, headers, body)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Serve a receiver on a free port."""
    receiver = Receiver()
    handlers: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await receiver.take(reader, writer)
        except asyncio.CancelledError:
            return
        finally:
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
