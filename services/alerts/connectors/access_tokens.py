"""Obtains access tokens of CRMs: requested once, shared by all processes, within vendors' limits.

Vendors limit token requests (Zoho 10 in 10 minutes, Fxiaoke 10 a minute and never two at once). A
process that needs a new token takes a lease in PostgreSQL; the holder requests the token, the
others wait for its result. A token is stored encrypted and never logged.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.alerts.connectors.core.token import Token
from services.alerts.connectors.ports import (
    TokenStore,
)
from services.alerts.delivery.core.retry import Answer
from shared.runtime.clock import Clock

WAIT_S: Final = 0.2
"""Seconds between two checks for the token that another process is requesting."""

LEASE_S: Final = 20.0
"""Seconds of a lease, in case its process has ended: more than one request takes."""


@dataclass(frozen=True, slots=True)
class RequestPace:
    """How often a vendor lets us request a token."""

    requests_max: int
    window_s: float


RequestToken = Callable[[], Awaitable[tuple[str, float] | Answer]]
"""Requests a token from the vendor: the token and its seconds, or why there is none."""


class Access:
    """The access token of one endpoint, in one process."""

    def __init__(
        self,
        endpoint_id: str,
        version: int,
        *,
        store: TokenStore,
        request: RequestToken,
        pace: RequestPace,
        clock: Clock,
    ) -> None:
        self._id, self._version = endpoint_id, version
        self._store, self._request, self._pace, self._clock = store, request, pace, clock
        self._token: Token | None = None
        self._lock = asyncio.Lock()

    async def token(self, since: datetime | None = None) -> str | Answer:
        """Return a token obtained at or after `since`; an answer where none is available."""
        if self._token is not None and self._token.serves(self._clock.now(), since):
            return self._token.value
        async with self._lock:
            got = await self._shared(since)
        if isinstance(got, Answer):
            return got
        self._token = got
        return got.value

    async def _shared(self, since: datetime | None) -> Token | Answer:
        checks = int(LEASE_S / WAIT_S)
        for _ in range(checks):
            now = self._clock.now()
            stored = await self._store.read(self._id, self._version)
            if stored is not None and stored.serves(now, since):
                return stored
            window = now - timedelta(seconds=self._pace.window_s)
            until = now + timedelta(seconds=LEASE_S)
            lease = await self._store.take_lease(
                self._id, now, until, window, self._pace.requests_max
            )
            if lease == "mine":
                return await self._requested()
            if lease == "spent":
                return Answer("retry", error="as many access tokens requested as are allowed")
            await asyncio.sleep(WAIT_S)
        return Answer("retry", error="another process is still requesting an access token")

    async def _requested(self) -> Token | Answer:
        token = None
        try:
            begun = self._clock.now()
            got = await self._request()
            if isinstance(got, Answer):
                # A token request changes nothing at the vendor: it may always be repeated.
                if got.result == "endpoint_dead":
                    return got
                why = got.error or "no access token"
                return replace(got, result="retry", head="", error=why)
            value, seconds = got
            token = Token(value, self._clock.now(), begun + timedelta(seconds=seconds))
            return token
        finally:
            await self._store.end_lease(self._id, self._version, token)
