"""Compares an endpoint's mapping with the CRM's own description before the endpoint is saved.

So a field that the CRM does not have is found by the administrator who names it, not by the first
task. Only CRMs that keep records describe themselves.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors import factory
from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.core.config import RECORD_KINDS, SECRETS
from services.alerts.connectors.core.token import Token, TokenLease
from services.alerts.connectors.record_connector import RecordConnector
from services.alerts.delivery.core.endpoint import Endpoint, Secret
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.store.endpoints import Endpoints
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work


class NoTokens:
    """A token store that keeps nothing: an endpoint that is not saved yet shares no token."""

    async def read(self, endpoint_id: str, version: int) -> Token | None:
        """Return None: there is no token."""
        return None

    async def take_lease(
        self, endpoint_id: str, now: datetime, until: datetime, since: datetime, most: int
    ) -> TokenLease:
        """Always grant the lease: no other process requests a token."""
        return "mine"

    async def end_lease(self, endpoint_id: str, version: int, token: Token | None) -> None:
        """Keep nothing."""


class Described:
    """Checks the mappings of endpoints against the CRM."""

    def __init__(
        self,
        shared: ConnectorContext,
        engine: AsyncEngine,
        endpoints: Endpoints,
        check: Callable[[Endpoint, Collection[str]], None],
    ) -> None:
        self._shared = replace(shared, tokens=NoTokens())
        self._engine = engine
        self._endpoints = endpoints
        self._check = check

    async def __call__(self, endpoint: Endpoint, given: Mapping[str, str] | None = None) -> None:
        """Raise Invalid, naming the field, unless the CRM has all that the endpoint's config names.

        `given`: the secrets of a new endpoint; None: it has its own. Whether the endpoint may be
        called at all is checked first: no secret is sent to an address that is refused.
        """
        if endpoint.kind not in SECRETS:
            return
        for name, value in (given or {}).items():
            factory.check_secret(endpoint.kind, name, value)
        if endpoint.kind not in RECORD_KINDS:
            return
        known = await self._with_secrets(endpoint, given)
        self._check(known, {secret.name for secret in known.secrets})
        connector = factory.make(known, self._shared)
        if not isinstance(connector, RecordConnector):
            return
        refused = await connector.check()
        if isinstance(refused, Answer):
            raise Invalid("config", f"cannot be compared with the CRM: {refused.error}")

    async def _with_secrets(self, endpoint: Endpoint, given: Mapping[str, str] | None) -> Endpoint:
        if given is not None:
            made = tuple(Secret(name, SecretStr(value)) for name, value in given.items())
            return replace(endpoint, secrets=made)
        async with unit_of_work(self._engine) as work:
            stored = await self._endpoints.find(work, endpoint.id)
        return endpoint if stored is None else replace(endpoint, secrets=stored.secrets)
