"""企业微信 WeCom: sends messages to a group by its bot, and cards with buttons to an owner."""

import math
from datetime import datetime
from typing import Final

from services.alerts.connectors.access_tokens import Access, RequestPace
from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.core.config import WecomAppConfig, WecomBotConfig
from services.alerts.connectors.core.notice import CLOSED, read_notice
from services.alerts.connectors.core.owners import needed_owner, remote_owner
from services.alerts.connectors.ports import (
    OwnerTable,
)
from services.alerts.connectors.requests import answered, row_of, send_call
from services.alerts.connectors.wecom import api as wecom
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.ports import (
    Leased,
)

PACE: Final = RequestPace(8, 60.0)
"""WeCom blocks callers that request tokens too often and publishes no number: few are ever
needed."""


class WecomBot:
    """Sends to one group. A bot has no ids and no memory: a repetition may be shown twice."""

    def __init__(
        self, endpoint_id: str, config: WecomBotConfig, key: str, http: Http, owners: OwnerTable
    ) -> None:
        self._id, self._config, self._key = endpoint_id, config, key
        self._http, self._owners = http, owners

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """Send a message about the task's newest change."""
        return await answered(self._send(delivery))

    async def find(self, delivery: Leased, at: datetime) -> None:
        """Return None: a group cannot be searched for earlier messages."""

    async def refresh(self, since: datetime) -> None:
        """Return None: a bot has no access token."""

    async def close(self) -> None:
        """Do nothing: no resource is held."""

    async def _send(self, delivery: Leased) -> Answer:
        notice = read_notice(delivery.body)
        row = await row_of(self._owners, self._id, notice.owner_id)
        member = remote_owner(notice.owner_id, row, self._config)
        call = wecom.bot_call(self._config, notice, member, self._key)
        return wecom.read(await send_call(self._http, self._config.api_url, call), None)


class WecomApp:
    """Sends to members through one application."""

    def __init__(
        self,
        endpoint_id: str,
        config: WecomAppConfig,
        *,
        access: Access,
        shared: ConnectorContext,
    ) -> None:
        self._id, self._config = endpoint_id, config
        self._access, self._shared = access, shared

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """Send a card for an open task, a line for one that has ended."""
        return await answered(self._send(delivery, at))

    async def find(self, delivery: Leased, at: datetime) -> None:
        """Return None: a card is known by its `task_id`; sending it again is answered 42014."""

    async def refresh(self, since: datetime) -> Answer | None:
        """Get an access token obtained after `since`; an answer states why there is none."""
        token = await answered(self._access.token(since))
        return token if isinstance(token, Answer) else None

    async def close(self) -> None:
        """Do nothing: no resource is held."""

    async def answered(self, member: str, response_code: str, text: str) -> Answer:
        """Show the owner's answer on the card; with a new token where ours has ended."""
        first = await answered(self._show(member, response_code, text, None))
        if first.result != "refresh_token":
            return first
        since = self._shared.clock.now()
        return await answered(self._show(member, response_code, text, since))

    async def _show(
        self, member: str, response_code: str, text: str, since: datetime | None
    ) -> Answer:
        token = await self._access.token(since)
        if isinstance(token, Answer):
            return token
        call = wecom.answered_call(self._config, member, response_code, text, token)
        return wecom.read(await send_call(self._shared.http, self._config.api_url, call), None)

    async def _send(self, delivery: Leased, at: datetime) -> Answer:
        notice = read_notice(delivery.body)
        if notice.type == CLOSED and notice.task.get("close_reason") == "verdict":
            return Answer("ok")  # the owner knows: it was the owner's own verdict
        row = await row_of(self._shared.owners, self._id, notice.owner_id)
        member = needed_owner(notice.owner_id, row, self._config)
        token = await self._access.token()
        if isinstance(token, Answer):
            return token
        if (wait := await self._shared.members.wait_s(self._id, member, at)) > 0:
            return Answer(
                "retry",
                error="the owner has been sent as much as WeCom shows",
                retry_after=str(math.ceil(wait)),
            )
        call = wecom.card_call(self._config, notice, member, token)
        return wecom.read(await send_call(self._shared.http, self._config.api_url, call), member)


async def ask_token(
    http: Http, config: WecomAppConfig, corp_secret: str
) -> tuple[str, float] | Answer:
    """Request an access token of the application."""
    call = wecom.token_call(config, corp_secret)
    return wecom.read_token(await send_call(http, config.api_url, call))
