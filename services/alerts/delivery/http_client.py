"""The only HTTP client of alerts: bounded in time and bytes, and guarded against forged targets.

Redirects are not followed, an answer is not decompressed and is read only in part, and a request as
a whole is bounded. No cookie is kept; no proxy or credential comes from the environment. The client
writes no URL and no secret to a log or an error.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from multidict import CIMultiDictProxy
from yarl import URL

from services.alerts.delivery.connection import BoundedTcpConnector
from services.alerts.delivery.core.blocked_networks import Network
from services.alerts.delivery.core.retry import Reply
from services.alerts.delivery.ssrf_guard import SsrfGuard
from shared.runtime.clock import Clock

RESPONSE_BYTES_MAX: Final = 20_000
"""Bytes of an answer's body that are read and logged: enough to recognise any error page."""

KEEP_ALIVE_S: Final = 2.0
"""How long an idle connection is kept: less than the 5 s after which common servers close
theirs, so that a request does not meet a connection that is just being closed."""

HEADERS: Final = {"accept-encoding": "identity", "user-agent": "ebbwatch"}


class Http:
    """Makes requests; use as an async context manager, within a running event loop."""

    def __init__(
        self,
        *,
        timeout_s: float,
        allowed: Sequence[Network],
        clock: Clock,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._allowed = allowed
        self._clock = clock
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        guard = SsrfGuard(self._resolver or ThreadedResolver(), self._allowed)
        connector = BoundedTcpConnector(
            resolver=guard,
            socket_factory=guard.socket,
            use_dns_cache=False,  # no cache: each connection resolves and checks its address
            limit=0,  # the endpoint queues bound how many requests are under way
            keepalive_timeout=KEEP_ALIVE_S,
            ssl=True if self._tls is None else self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        bytes_max: int = RESPONSE_BYTES_MAX,
    ) -> Reply:
        """Send one request. Never raises for a failure of the other side: the reply states it."""
        received = _Received()
        begun = self._clock.monotonic()
        try:
            # One bound for the request as a whole: bounds per read let a slow drip go on.
            async with asyncio.timeout(self._timeout_s):
                await self._exchange(method, url, headers, body, bytes_max, received)
        except TimeoutError:
            # A received status counts; the rest of the answer is for the log only.
            received.timed_out = received.status is None
            received.error = f"not answered in full within {self._timeout_s:g} s"
        except aiohttp.ClientConnectorError as trouble:
            received.reached = False
            received.error = f"no connection: {_why(trouble.os_error)}"
        except ValueError:  # a wrong URL or header value: nothing has been sent
            received.reached = received.status is not None
            received.error = "no connection: the endpoint's URL or a header is not usable"
        except (aiohttp.ClientError, ConnectionError) as trouble:
            received.error = f"the connection broke: {type(trouble).__name__}"
        return received.reply((self._clock.monotonic() - begun) * 1000)

    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        bytes_max: int,
        received: "_Received",
    ) -> None:
        assert self._session is not None, "use as an async context manager"  # noqa: S101
        async with self._session.request(
            method,
            URL(url),
            data=body or None,
            headers=HEADERS | dict(headers),
            allow_redirects=False,
        ) as response:
            received.status = response.status
            received.headers = response.headers
            while len(received.body) < bytes_max:
                chunk = await response.content.readany()
                if not chunk:
                    return
                received.body += chunk[: bytes_max - len(received.body)]
            response.close()  # the rest is not needed: closing drops the connection too


@dataclass(slots=True)
class _Received:
    """The parts of an answer that have been received so far."""

    status: int | None = None
    headers: CIMultiDictProxy[str] | None = None
    body: bytearray = field(default_factory=bytearray)
    error: str | None = None
    timed_out: bool = False
    reached: bool = True

    def reply(self, duration_ms: float) -> Reply:
        found = self.headers.items() if self.headers is not None else ()
        return Reply(
            status=self.status,
            duration_ms=duration_ms,
            body=bytes(self.body),
            headers={name.lower(): value for name, value in found},
            error=self.error,
            timed_out=self.timed_out,
            reached=self.reached,
        )


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
