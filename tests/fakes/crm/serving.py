"""Serves a fake CRM on a free port of loopback, with faults that a test requests."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

Trouble = Literal["lost", "html", "hang", "drop"]
"""`lost`: it is done, and the answer is lost · `html`: a proxy's page comes instead · `hang`: no
answer · `drop`: the connection is dropped before anything is done."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Served:
    """The common part of every fake: its address, requests received, and faults to come by path."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    troubles: dict[str, list[Trouble]] = field(default_factory=dict)
    """Part of a path -> faults of the next requests there, used up from the front."""

    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a request hangs."""

    def calls(self, part: str) -> list[Asked]:
        """Return the requests with this part in their path."""
        return [each for each in self.asked if part in each.path]

    def app(self) -> web.Application:
        """Return the routes; each fake has its own."""
        raise NotImplementedError

    def trouble_at(self, path: str) -> Trouble | None:
        """Return the fault of this request."""
        waiting = next((each for part, each in self.troubles.items() if part in path and each), [])
        return waiting.pop(0) if waiting else None


def answer(content: Any, status: int = 200) -> web.Response:
    """Returns a JSON answer."""
    return web.json_response(content, status=status, dumps=lambda c: json.dumps(c, default=str))


@asynccontextmanager
async def serving(fake: Served, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Runs the fake; with `tls` over HTTPS."""

    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await request.read()
        fake.asked.append(
            Asked(
                request.method,
                request.path,
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                body,
            )
        )
        trouble = fake.trouble_at(request.path)
        if trouble == "html":
            return web.Response(text="<html>502</html>", content_type="text/html", status=200)
        if trouble == "hang":
            fake.hanging.set()
            await asyncio.sleep(3600)
        done = web.Response() if trouble == "drop" else await handler(request)
        if trouble in {"lost", "drop"} and request.transport is not None:
            request.transport.abort()
        return done

    app = fake.app()
    app.middlewares.append(keep)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"{'https' if tls else 'http'}://{host}:{port}"
    try:
        yield
    finally:
        await runner.cleanup()
