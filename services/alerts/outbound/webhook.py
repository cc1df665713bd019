"""Sends one signed webhook and reports what came back. The only module that calls receivers.

Redirects are not followed, the answer's body is not decompressed and read only in part, and
the attempt as a whole is bounded. No secret and no URL reaches a log or an error from here.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Final, Self

import httpx
from pydantic import SecretStr

from services.alerts.core.retry import Answer
from services.alerts.core.signature import headers
from services.alerts.ports import Leased
from shared.runtime.clock import Clock

RESPONSE_BYTES_MAX: Final = 20_000
"""Of an answer's body that are read and logged: enough for any error page to be recognised."""

KEEP_ALIVE_S: Final = 2.0
"""How long an idle connection is kept: less than the 5 s after which common servers close
theirs, so that a request does not meet a connection that is just being closed."""

HEADERS: Final = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "user-agent": "ebbwatch",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send, and the keys to sign with."""

    url: str
    secrets: tuple[SecretStr, ...]


class WebhookSender:
    """Makes attempts; use as an async context manager."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        *,
        timeout_s: float,
        connections_max: int,
        clock: Clock,
    ) -> None:
        self._endpoints = endpoints
        self._timeout_s = timeout_s
        self._clock = clock
        # The transport by itself, without a client around it: it follows no redirect, keeps no
        # cookie, and takes no proxy or credentials from the environment.
        self._transport = httpx.AsyncHTTPTransport(
            trust_env=False,
            limits=httpx.Limits(
                max_connections=connections_max,
                max_keepalive_connections=connections_max,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.aclose()

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """One attempt at `at` (UTC), which is also the signature's time."""
        endpoint = self._endpoints[delivery.endpoint_id]
        secrets = [secret.get_secret_value() for secret in endpoint.secrets]
        request = httpx.Request(
            "POST",
            endpoint.url,
            content=delivery.body,
            headers=HEADERS | headers(delivery.id, at, delivery.body, secrets),
        )
        heard = _Heard()
        begun = self._clock.monotonic()
        try:
            # One bound for the attempt as a whole: bounds per read let a slow drip go on.
            async with asyncio.timeout(self._timeout_s):
                await self._exchange(request, heard)
        except TimeoutError:
            # Once the status is there it counts; the rest of the answer is for the log only.
            heard.timed_out = heard.status is None
            heard.error = f"not answered in full within {self._timeout_s:g} s"
        except httpx.HTTPError as trouble:
            heard.error = f"{type(trouble).__name__}: {trouble}"
        return heard.answer((self._clock.monotonic() - begun) * 1000)

    async def _exchange(self, request: httpx.Request, heard: "_Heard") -> None:
        response = await self._transport.handle_async_request(request)
        try:
            heard.status = response.status_code
            heard.retry_after = response.headers.get("retry-after")
            async for chunk in response.aiter_raw():
                heard.head += chunk[: RESPONSE_BYTES_MAX - len(heard.head)]
                if len(heard.head) >= RESPONSE_BYTES_MAX:
                    return
        finally:
            await response.aclose()


@dataclass(slots=True)
class _Heard:
    """What has been heard of an answer so far."""

    status: int | None = None
    retry_after: str | None = None
    head: bytearray = field(default_factory=bytearray)
    error: str | None = None
    timed_out: bool = False

    def answer(self, duration_ms: float) -> Answer:
        text = self.head.decode("utf-8", "replace")
        return Answer(
            status=self.status,
            duration_ms=duration_ms,
            head=text.replace("\0", "\N{REPLACEMENT CHARACTER}"),  # PostgreSQL stores no NUL
            retry_after=self.retry_after,
            error=self.error,
            timed_out=self.timed_out,
        )
