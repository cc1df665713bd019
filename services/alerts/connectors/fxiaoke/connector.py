"""纷享销客 Fxiaoke: its dialect and its access token, in the new and the old style."""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from services.alerts.connectors.access_tokens import RequestPace
from services.alerts.connectors.core.call import Call, content_of
from services.alerts.connectors.core.config import FxiaokeConfig
from services.alerts.connectors.core.verdict_mapping import CrmRecord
from services.alerts.connectors.fxiaoke import api as fxiaoke
from services.alerts.connectors.fxiaoke.api import Session
from services.alerts.connectors.record_connector import UnusableToken
from services.alerts.connectors.requests import send_call
from services.alerts.delivery.core.retry import Answer, Reply
from services.alerts.delivery.http_client import Http
from shared.kernel.errors import UNREADABLE

PACE: Final = RequestPace(8, 60.0)
"""Fxiaoke accepts 10 token requests a minute, and no two at once."""


class FxiaokeDialect:
    """Makes Fxiaoke's requests and reads its answers. Each URL carries a trace id of its own."""

    page = fxiaoke.PAGE_ROWS

    def __init__(self, config: FxiaokeConfig) -> None:
        self._config = config

    def address(self) -> str:
        return self._config.api_url

    def find(self, token: str, key: str) -> Call:
        return fxiaoke.find_call(self._config, session_of(token), key, trace())

    def create(
        self, token: str, key: str, fields: Mapping[str, Any], owner: str, about: str | None
    ) -> Call:
        return fxiaoke.create_call(
            self._config, session_of(token), key, fields, owner=owner, trace=trace()
        )

    def update(
        self, token: str, remote_id: str, fields: Mapping[str, Any], owner: str | None
    ) -> Call:
        """Make an update; `owner` is ignored: Fxiaoke cannot change it by an update."""
        return fxiaoke.update_call(self._config, session_of(token), remote_id, fields, trace())

    def changed(self, token: str, since: datetime, offset: int) -> Call:
        since_ms = round(since.timestamp() * 1000)
        return fxiaoke.changed_call(self._config, session_of(token), since_ms, offset, trace())

    def describe(self, token: str) -> Call:
        return fxiaoke.describe_call(self._config, session_of(token), trace())

    def read(self, reply: Reply) -> Answer:
        return fxiaoke.read(reply)

    def read_found(self, reply: Reply) -> list[CrmRecord] | Answer:
        return fxiaoke.read_found(reply, self._config)

    def check(self, reply: Reply) -> Answer | None:
        refused = fxiaoke.read(reply)
        if refused.result != "ok":
            return refused
        data = (content_of(reply) or {}).get("data")
        described = data.get("describe", data) if isinstance(data, dict) else {}
        fxiaoke.missing_fields(described, self._config)
        return None


async def ask_session(
    http: Http, config: FxiaokeConfig, app_secret: str, permanent_code: str
) -> tuple[str, float] | Answer:
    """Request a session from Fxiaoke, as the text that is kept as the access token."""
    call = fxiaoke.token_call(config, app_secret, permanent_code, trace())
    got = fxiaoke.read_session(await send_call(http, config.api_url, call), config)
    if isinstance(got, Answer):
        return got
    session, seconds = got
    return json.dumps([session.token, session.company]), seconds


def session_of(token: str) -> Session:
    """Decode the session kept as the access token; raise UnusableToken where it holds none."""
    try:
        value, company = msgspec.json.decode(token, type=tuple[str, str])
    except UNREADABLE:
        raise UnusableToken from None
    return Session(value, company)


def trace() -> str:
    """Return a new id; Fxiaoke requires one with each request."""
    return str(uuid.uuid4())
