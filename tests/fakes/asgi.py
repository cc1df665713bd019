"""Calls an ASGI application as a server does, so that a test sees what is read of a body."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI


async def call(
    app: FastAPI,
    path: str,
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    pieces: AsyncIterator[bytes] | None = None,
) -> dict[str, Any]:
    """Returns status and headers of one request with a body in these pieces.

    Ends early when the application does.
    """
    raw, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": httpx.URL(raw, scheme="http", host="x").path if "%" in raw else raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        "server": ("test", 80),
        "client": ("test", 1),
    }
    answer: dict[str, Any] = {}

    async def receive() -> dict[str, Any]:
        if pieces is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}
        except ConnectionError:
            return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
            answer["headers"] = {k.decode(): v.decode() for k, v in message["headers"]}

    await app(scope, receive, send)
    return answer


async def of(body: bytes) -> AsyncIterator[bytes]:
    """Yields the body as one piece."""
    yield body


async def never() -> AsyncIterator[bytes]:
    """Fails the test if it is read."""
    raise AssertionError("the body was read")
    yield b""


async def waiting() -> AsyncIterator[bytes]:
    """Yields a piece, and then waits."""
    yield b" "
    await asyncio.sleep(60)


async def gone() -> AsyncIterator[bytes]:
    """Yields a piece, and then the connection is closed."""
    yield b" "
    raise ConnectionError
