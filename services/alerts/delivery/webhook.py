"""The plain webhook, the simplest connector: one signed POST per the Standard Webhooks spec.

It need not search before repeating: the receiver knows a message by its `webhook-id`, which is the
same on every attempt.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from services.alerts.delivery.core.endpoint import SIGNING, Endpoint
from services.alerts.delivery.core.retry import Answer, read
from services.alerts.delivery.core.signature import headers
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.ports import (
    Leased,
)
from shared.contracts.headers import TRACEPARENT
from shared.kernel.errors import Invalid
from shared.observability.tracing import here, traceparent

HEADERS: Final = {"content-type": "application/json"}


class Webhook:
    """Sends messages to one endpoint."""

    def __init__(self, endpoint: Endpoint, http: Http) -> None:
        self._endpoint = endpoint
        self._http = http

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """Make one attempt at `at` (UTC), which is also the signature's time."""
        secrets = self._endpoint.valid_secrets(SIGNING, at)
        try:
            signed = headers(delivery.id, at, delivery.body, secrets)
        except Invalid as wrong:
            return Answer("endpoint_dead", error=f"a stored secret cannot be used: {wrong}")
        url = self._endpoint.url or ""
        # The trace state stays here: what is in it is for the systems that wrote it.
        trace = traceparent(here())
        traced = {} if trace is None else {TRACEPARENT: trace}
        return read(await self._http.send("POST", url, HEADERS | signed | traced, delivery.body))

    async def find(self, delivery: Leased, at: datetime) -> None:
        """Return None: no search is needed, as sending again changes nothing at the receiver."""

    async def refresh(self, since: datetime) -> None:
        """Return None: there is no token, as each attempt is signed anew."""

    async def close(self) -> None:
        """Do nothing: no resource is held."""


def check(url: str | None, config: Mapping[str, Any], secrets: Collection[str]) -> None:
    """Raise Invalid, naming the field, unless a webhook can be made of this."""
    parts = urlsplit(url or "")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Invalid("url", "must be an http or https URL with a host")
    if parts.username or parts.password:
        raise Invalid("url", "must hold no user name or password: requests are signed instead")
    if config:
        raise Invalid("config", f"a webhook takes none, got {sorted(config)}")
    if SIGNING not in secrets:
        raise Invalid("secrets", f"a webhook needs a `{SIGNING}` secret")
