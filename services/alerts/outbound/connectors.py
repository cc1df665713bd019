"""Which connector speaks with which kind of endpoint, and one connector for each endpoint."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from services.alerts.core.endpoint import Endpoint, Kind
from services.alerts.outbound import webhook
from services.alerts.outbound.http import Http
from services.alerts.ports import Connector
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Kinds:
    """How one kind of endpoint is checked and spoken with."""

    check: Callable[[str | None, Mapping[str, Any], Collection[str]], None]
    """`check(url, config, names of secrets)`: Invalid, naming the field, if it cannot work."""
    make: Callable[[Endpoint, Http, Clock], Connector]


KINDS: Mapping[Kind, Kinds] = {
    "webhook": Kinds(webhook.check, lambda endpoint, http, _: webhook.Webhook(endpoint, http)),
}
"""The table of contents of what can be connected."""


def check(endpoint: Endpoint, secrets: Collection[str], *, https_only: bool) -> None:
    """Invalid, naming the field, unless an endpoint made of this can work."""
    if endpoint.kind not in KINDS:
        raise Invalid("kind", f"must be one of {sorted(KINDS)}")
    if endpoint.kind != "webhook" and endpoint.payload != "full":
        raise Invalid("payload", "a connector needs `full`: it fills in the task's fields")
    if https_only and (endpoint.url or "https:").partition(":")[0].lower() != "https":
        raise Invalid("url", "must be https, unless EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY is false")
    KINDS[endpoint.kind].check(endpoint.url, endpoint.config, secrets)


class Connectors:
    """Keeps one connector for each endpoint, as long as the endpoint does not change.

    A connector may hold what is costly to get, such as an access token; so it is shared by all
    attempts of this process.
    """

    def __init__(self, http: Http, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._made: dict[str, tuple[int, Connector]] = {}

    def of(self, endpoint: Endpoint) -> Connector:
        """The connector of an endpoint as it is now."""
        version, connector = self._made.get(endpoint.id, (None, None))
        if connector is None or version != endpoint.version:
            connector = KINDS[endpoint.kind].make(endpoint, self._http, self._clock)
            self._made[endpoint.id] = endpoint.version, connector
        return connector

    async def close(self) -> None:
        """Let go what the connectors hold."""
        for _, connector in self._made.values():
            await connector.close()
