"""Maps kinds of endpoints to connectors, and keeps one connector for each endpoint."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from services.alerts.connectors import factory
from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.core import config
from services.alerts.connectors.ports import (
    ChangeReader,
)
from services.alerts.connectors.record_connector import RecordConnector
from services.alerts.connectors.wecom.connector import WecomApp
from services.alerts.delivery import webhook
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.ports import (
    Connector,
)
from shared.kernel.errors import Invalid


@dataclass(frozen=True, slots=True)
class Kinds:
    """How one kind of endpoint is checked and connected."""

    check: Callable[[str | None, Mapping[str, Any], Collection[str]], None]
    """`check(url, config, names of secrets)`: raises Invalid, naming the field, if it cannot
    work."""
    make: Callable[[Endpoint, ConnectorContext], Connector]


KINDS: Mapping[str, Kinds] = {
    "webhook": Kinds(
        webhook.check, lambda endpoint, shared: webhook.Webhook(endpoint, shared.http)
    ),
    **{kind: Kinds(partial(factory.check, kind), factory.made) for kind in config.KINDS},
}
"""All kinds of endpoints that can be connected."""


NOT_HTTPS: Final = "must be https, unless EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY is false"


def refused(endpoint: Endpoint, *, https_only: bool) -> str | None:
    """Return why an endpoint must not be called, by the rules of now; None: it may."""
    plain = endpoint.plain() if https_only else None
    return None if plain is None else f"{plain}: {NOT_HTTPS}; then enable it"


def check(endpoint: Endpoint, secrets: Collection[str], *, https_only: bool) -> None:
    """Raise Invalid, naming the field, unless an endpoint made of this can work."""
    if endpoint.kind not in KINDS:
        raise Invalid("kind", f"must be one of {sorted(KINDS)}")
    if endpoint.kind != "webhook" and endpoint.payload != "full":
        raise Invalid("payload", "a connector needs `full`: it fills in the task's fields")
    if https_only and (plain := endpoint.plain()) is not None:
        raise Invalid(plain, NOT_HTTPS)
    KINDS[endpoint.kind].check(endpoint.url, endpoint.config, secrets)


class Connectors:
    """Keeps one connector for each endpoint, as long as the endpoint does not change.

    A connector may hold what is costly to get, such as an access token; so it is shared by all
    attempts of this process. `https_only`: an endpoint with any other address is not called.
    """

    def __init__(self, shared: ConnectorContext, *, https_only: bool) -> None:
        self.shared = shared
        self._https_only = https_only
        self._made: dict[str, tuple[int, Connector]] = {}

    def of(self, endpoint: Endpoint) -> Connector:
        """Return the connector of an endpoint in its present version."""
        version, connector = self._made.get(endpoint.id, (None, None))
        if connector is None or version != endpoint.version:
            connector = self._make(endpoint)
            self._made[endpoint.id] = endpoint.version, connector
        return connector

    def _make(self, endpoint: Endpoint) -> Connector:
        if (why := refused(endpoint, https_only=self._https_only)) is not None:
            return factory.UnusableConnector(why)
        kind = KINDS.get(endpoint.kind)
        if kind is None:
            return factory.UnusableConnector(f"this version knows no kind {endpoint.kind!r}")
        return kind.make(endpoint, self.shared)

    def reader(self, endpoint: Endpoint) -> ChangeReader:
        """Return the reader of the changes of a CRM that keeps tasks as records."""
        connector = self.of(endpoint)
        if not isinstance(connector, RecordConnector):
            raise Invalid("kind", f"{endpoint.kind} cannot be asked what changed")
        return connector

    def every_s(self, endpoint: Endpoint) -> float:
        """Return the seconds between two polls of a CRM for changes."""
        connector = self.of(endpoint)
        return connector.config.sweep_s if isinstance(connector, RecordConnector) else math.inf

    async def answered(
        self, endpoint: Endpoint, member: str, response_code: str, text: str
    ) -> Answer:
        """Show the owner's answer on a card."""
        connector = self.of(endpoint)
        if not isinstance(connector, WecomApp):
            raise Invalid("kind", f"{endpoint.kind} has no cards")
        return await connector.answered(member, response_code, text)

    async def close(self) -> None:
        """Close all connectors."""
        for _, connector in self._made.values():
            await connector.close()
