"""Zoho CRM: its dialect, its access token and its notification channel."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from services.alerts.connectors.access_tokens import RequestPace
from services.alerts.connectors.core.call import Call, content_of
from services.alerts.connectors.core.config import ZohoConfig
from services.alerts.connectors.core.verdict_mapping import CrmRecord
from services.alerts.connectors.record_connector import RecordConnector
from services.alerts.connectors.requests import send_call
from services.alerts.connectors.zoho import api as zoho
from services.alerts.delivery.core.retry import Answer, Reply
from services.alerts.delivery.http_client import Http

PACE: Final = RequestPace(8, 600.0)
"""Zoho grants 10 access tokens in 10 minutes; two are left for an administrator's own use."""

RENEW: Final = timedelta(days=1)
"""How long before its end a notification channel is renewed."""

CALLBACK_TOKEN_LENGTH_MAX: Final = 50
"""Characters of the token that Zoho sends back with a notification."""


class ZohoDialect:
    """Makes Zoho's requests and reads its answers."""

    page = zoho.PAGE_ROWS

    def __init__(self, config: ZohoConfig) -> None:
        self._config = config

    def address(self) -> str:
        return self._config.api_url

    def find(self, token: str, key: str) -> Call:
        return _with(token, zoho.find_call(self._config, key))

    def create(
        self, token: str, key: str, fields: Mapping[str, Any], owner: str, about: str | None
    ) -> Call:
        return _with(token, zoho.create_call(self._config, key, fields, owner, about))

    def update(
        self, token: str, remote_id: str, fields: Mapping[str, Any], owner: str | None
    ) -> Call:
        return _with(token, zoho.update_call(self._config, remote_id, fields, owner))

    def changed(self, token: str, since: datetime, offset: int) -> Call:
        return _with(token, zoho.changed_call(self._config, since, offset))

    def describe(self, token: str) -> Call:
        return _with(token, zoho.describe_call(self._config.module))

    def watch(self, token: str, channel: str, secret: str, url: str, now: datetime) -> Call:
        return _with(token, zoho.watch_call(channel, secret, url, self._config.module, now))

    def read(self, reply: Reply) -> Answer:
        return zoho.read(reply)

    def read_found(self, reply: Reply) -> list[CrmRecord] | Answer:
        return zoho.read_found(reply, self._config)

    def check(self, reply: Reply) -> Answer | None:
        fields = (content_of(reply) or {}).get("fields")
        if not isinstance(fields, list):
            return zoho.read(reply)
        zoho.missing_fields(fields, self._config)
        return None


class ZohoConnector(RecordConnector):
    """Connects to Zoho, which sends notifications if it has an address and a token."""

    def __init__(
        self, endpoint_id: str, config: ZohoConfig, callback_token: str | None, **parts: Any
    ) -> None:
        self._dialect_of_zoho = ZohoDialect(config)
        super().__init__(endpoint_id, config, dialect=self._dialect_of_zoho, **parts)
        self._notify_url = config.notify_url
        self._callback_token = callback_token
        self._open = False

    async def watch(self, now: datetime, until: datetime | None) -> datetime | Answer | None:
        """Open or renew the notification channel; return its end.

        Each connector opens it once, as the address or the token may be new.
        """
        if self._open and until is not None and until - RENEW > now:
            return until
        secret = self._callback_token
        if self._notify_url is None or secret is None:
            return None
        path = f"{self.endpoint_id}/{zoho.path_secret(self.endpoint_id, secret)}"
        url = f"{self._notify_url}/v1/callbacks/zoho/{path}"
        channel = zoho.channel_of(self.endpoint_id)
        done = await self.ask(
            lambda token: self._dialect_of_zoho.watch(token, channel, secret, url, now),
            zoho.read,
        )
        self._open = done.result == "ok"
        return now + timedelta(days=zoho.WATCH_DAYS) if self._open else done


async def ask_token(
    http: Http, config: ZohoConfig, client_secret: str, refresh_token: str
) -> tuple[str, float] | Answer:
    """Request an access token from Zoho's accounts server."""
    call = zoho.token_call(config, client_secret, refresh_token)
    return zoho.read_token(await send_call(http, config.accounts_url, call))


def _with(token: str, call: Call) -> Call:
    headers = {**call.headers, "authorization": f"Zoho-oauthtoken {token}"}
    return Call(call.method, call.path, call.body, headers)
