"""Makes the connectors of CRMs from their endpoints, and checks that they can be made.

The only place that knows which secret and which address each of them needs.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from services.alerts.connectors.access_tokens import Access, RequestPace
from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.core.config import (
    CALLBACK_SECRETS,
    SECRETS,
    FxiaokeConfig,
    WecomAppConfig,
    WecomBotConfig,
    ZohoConfig,
    read_config,
)
from services.alerts.connectors.fxiaoke import connector as fxiaoke
from services.alerts.connectors.record_connector import RecordConnector
from services.alerts.connectors.wecom import connector as wecom
from services.alerts.connectors.wecom import crypto
from services.alerts.connectors.wecom.connector import WecomApp, WecomBot
from services.alerts.connectors.zoho import connector as zoho
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.ports import (
    Leased,
)
from shared.kernel.errors import Invalid

CrmConnector = RecordConnector | WecomApp | WecomBot


class UnusableConnector:
    """Replaces the connector of an endpoint with stored config or secrets that are not usable.

    That can happen after an upgrade. The endpoint is switched off with the reason; its messages
    wait.
    """

    def __init__(self, why: str) -> None:
        self._why = why

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """Return the reason; nothing is sent."""
        return Answer("endpoint_dead", error=self._why)

    async def find(self, delivery: Leased, at: datetime) -> Answer | None:
        """Return the reason; no system can be searched."""
        return Answer("endpoint_dead", error=self._why)

    async def refresh(self, since: datetime) -> Answer | None:
        """Return the reason; there is no token."""
        return Answer("endpoint_dead", error=self._why)

    async def close(self) -> None:
        """Do nothing: no resource is held."""


def made(endpoint: Endpoint, shared: ConnectorContext) -> CrmConnector | UnusableConnector:
    """Return the connector of an endpoint; where it cannot be made, one that reports why."""
    try:
        return make(endpoint, shared)
    except Invalid as wrong:
        return UnusableConnector(str(wrong))


def make(endpoint: Endpoint, shared: ConnectorContext) -> CrmConnector:
    """Make the connector of an endpoint that `check` accepted; raise Invalid if it cannot be."""
    config = read_config(endpoint.kind, endpoint.config)
    for name in sorted(SECRETS[endpoint.kind]):
        _secret(endpoint, name, shared)
    match config:
        case ZohoConfig():
            return zoho.ZohoConnector(
                endpoint.id,
                config,
                endpoint.secret("callback_token", shared.clock.now()),
                access=_access(endpoint, config, zoho.PACE, shared),
                http=shared.http,
                owners=shared.owners,
            )
        case FxiaokeConfig():
            return RecordConnector(
                endpoint.id,
                config,
                dialect=fxiaoke.FxiaokeDialect(config),
                access=_access(endpoint, config, fxiaoke.PACE, shared),
                http=shared.http,
                owners=shared.owners,
            )
        case WecomBotConfig():
            key = _secret(endpoint, "key", shared)
            return WecomBot(endpoint.id, config, key, shared.http, shared.owners)
        case WecomAppConfig():
            access = _access(endpoint, config, wecom.PACE, shared)
            return WecomApp(endpoint.id, config, access=access, shared=shared)


def check(kind: str, url: str | None, config: Mapping[str, Any], secrets: Collection[str]) -> None:
    """Raise Invalid, naming the field, unless a connector can be made of this.

    `secrets`: the names of the existing ones.
    """
    if url is not None:
        raise Invalid("url", f"a {kind} endpoint takes none: its addresses are in `config`")
    read_config(kind, config)
    if missing := SECRETS[kind] - set(secrets):
        raise Invalid("secrets", f"a {kind} endpoint needs {', '.join(sorted(missing))}")
    known = SECRETS[kind] | CALLBACK_SECRETS.get(kind, frozenset())
    if unknown := set(secrets) - known:
        raise Invalid("secrets", f"a {kind} endpoint takes no {', '.join(sorted(unknown))}")


def check_secret(kind: str, name: str, value: str) -> None:
    """Raise Invalid, without the value, where a secret cannot be what its name states."""
    if not value.strip():
        raise Invalid(f"secrets.{name}", "must not be empty")
    if (kind, name) == ("wecom_app", "callback_aes_key"):
        crypto.key_of(value)
    if (kind, name) == ("zoho", "callback_token") and len(value) > zoho.CALLBACK_TOKEN_LENGTH_MAX:
        raise Invalid(f"secrets.{name}", f"at most {zoho.CALLBACK_TOKEN_LENGTH_MAX} characters")


def _access(
    endpoint: Endpoint,
    config: ZohoConfig | FxiaokeConfig | WecomAppConfig,
    pace: RequestPace,
    shared: ConnectorContext,
) -> Access:
    return Access(
        endpoint.id,
        endpoint.version,
        store=shared.tokens,
        request=partial(_ask, endpoint, config, shared),
        pace=pace,
        clock=shared.clock,
    )


async def _ask(
    endpoint: Endpoint,
    config: ZohoConfig | FxiaokeConfig | WecomAppConfig,
    shared: ConnectorContext,
) -> tuple[str, float] | Answer:
    """Request an access token from the vendor, with the current secrets."""
    secrets = [_secret(endpoint, name, shared) for name in sorted(SECRETS[endpoint.kind])]
    match config:
        case ZohoConfig():
            client_secret, refresh_token = secrets
            return await zoho.ask_token(shared.http, config, client_secret, refresh_token)
        case FxiaokeConfig():
            app_secret, permanent_code = secrets
            return await fxiaoke.ask_session(shared.http, config, app_secret, permanent_code)
        case WecomAppConfig():
            return await wecom.ask_token(shared.http, config, secrets[0])


def _secret(endpoint: Endpoint, name: str, shared: ConnectorContext) -> str:
    found = endpoint.secret(name, shared.clock.now())
    if found is None:
        raise Invalid(f"secrets.{name}", f"{endpoint.id} has none")
    return found
