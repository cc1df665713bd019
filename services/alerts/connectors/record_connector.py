"""Sends tasks to a CRM that keeps them as records, and reads the records' changes.

Zoho and Fxiaoke share it. Before a record is created it is always searched for by our key: so a
lost answer, or a process that died between the request and its log entry, leaves no second task. A
dialect makes the CRM's requests and reads its answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from services.alerts.connectors.access_tokens import Access
from services.alerts.connectors.core.call import Call
from services.alerts.connectors.core.config import FxiaokeConfig, ZohoConfig
from services.alerts.connectors.core.notice import (
    CLOSED,
    OPENED,
    Notice,
    read_notice,
)
from services.alerts.connectors.core.owners import needed_owner
from services.alerts.connectors.core.template import context, fill
from services.alerts.connectors.core.verdict_mapping import CrmRecord, VerdictRule, rule_of
from services.alerts.connectors.ports import (
    OwnerTable,
)
from services.alerts.connectors.requests import answered, row_of, send_call
from services.alerts.delivery.core.retry import Answer, Reply
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.ports import (
    Leased,
)

PAGES_MAX: Final = 25
"""Pages of one poll; the rest waits for the next poll, from a moved mark."""

T = TypeVar("T")


class UnusableToken(Exception):  # noqa: N818 (a word, like Invalid)
    """Raised when what is kept as the access token is not one."""


class Dialect(Protocol):
    """Makes the requests of one CRM and reads its answers. `token` is what `Access` returned."""

    page: int

    def address(self) -> str: ...
    def find(self, token: str, key: str) -> Call: ...
    def create(
        self, token: str, key: str, fields: Mapping[str, Any], owner: str, about: str | None
    ) -> Call: ...
    def update(
        self, token: str, remote_id: str, fields: Mapping[str, Any], owner: str | None
    ) -> Call: ...
    def changed(self, token: str, since: datetime, offset: int) -> Call: ...
    def describe(self, token: str) -> Call: ...
    def read(self, reply: Reply) -> Answer: ...
    def read_found(self, reply: Reply) -> list[CrmRecord] | Answer: ...
    def check(self, reply: Reply) -> Answer | None: ...


class RecordConnector:
    """Sends to one endpoint and reads from it."""

    def __init__(
        self,
        endpoint_id: str,
        config: ZohoConfig | FxiaokeConfig,
        *,
        dialect: Dialect,
        access: Access,
        http: Http,
        owners: OwnerTable,
    ) -> None:
        self.endpoint_id, self.config = endpoint_id, config
        self._dialect, self._access, self._http, self._owners = dialect, access, http, owners

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        """Create the record, or change it when it is there and the task has changed."""
        return await answered(self._send(delivery))

    async def find(self, delivery: Leased, at: datetime) -> Answer | None:
        """Return the answer of a create that was lost; None where there is no such record.

        Only a create is searched for: a change may be written twice.
        """
        if delivery.kind != OPENED:
            return None
        found = await answered(self._existing(delivery.task_id))
        if isinstance(found, Answer):
            return found
        return Answer("ok", remote_id=found.remote_id) if found else None

    async def refresh(self, since: datetime) -> Answer | None:
        """Get an access token obtained after `since`; an answer states why there is none."""
        token = await answered(self._access.token(since))
        return token if isinstance(token, Answer) else None

    async def close(self) -> None:
        """Do nothing: no resource is held."""

    async def changes(self, since: datetime) -> list[CrmRecord] | Answer:
        """Return our records that changed since then, oldest change first."""
        found: list[CrmRecord] = []
        for page in range(PAGES_MAX):
            changed = partial(self._dialect.changed, since=since, offset=page * self._dialect.page)
            rows = await self.ask(changed, self._dialect.read_found)
            if isinstance(rows, Answer):
                return rows
            found += [row for row in rows if row.key]
            if len(rows) < self._dialect.page:
                break
        return found

    def verdict_of(self, found: CrmRecord) -> VerdictRule | None:
        """Return the verdict rule that the record fits."""
        return rule_of(found.values, self.config.verdicts)

    async def watch(self, now: datetime, until: datetime | None) -> datetime | Answer | None:
        """Request notifications of changes, where the present ones end at `until`.

        Returns the new end, or None where the CRM sends no notifications.
        """
        return None

    async def check(self) -> Answer | None:
        """Compare the mapping with the CRM's own description; raise Invalid naming what is wrong.

        An answer states why the CRM did not describe itself.
        """
        return await self.ask(self._dialect.describe, self._dialect.check)

    async def _send(self, delivery: Leased) -> Answer:
        notice = read_notice(delivery.body)
        if notice.type != OPENED and delivery.remote_id is not None:
            return await self._change(notice, delivery.remote_id)
        found = await self._existing(notice.key)
        if isinstance(found, Answer):
            return found
        if found is None:
            # A task that ended before it could be created need not be shown.
            return Answer("ok") if notice.type == CLOSED else await self._create(notice)
        if notice.type == OPENED:
            return Answer("ok", remote_id=found.remote_id)
        return await self._change(notice, found.remote_id)

    async def _create(self, notice: Notice) -> Answer:
        owner = await self._owner(notice)
        known = context(notice, owner)
        fields = fill(self.config.fields, known, self.config.time_zone)
        template = getattr(self.config, "about", None)
        about = fill({"about": template}, known, "UTC").get("about") if template else None
        return await self.ask(
            lambda token: self._dialect.create(token, notice.key, fields, owner, about),
            self._dialect.read,
        )

    async def _owner(self, notice: Notice) -> str:
        row = await row_of(self._owners, self.endpoint_id, notice.owner_id)
        return needed_owner(notice.owner_id, row, self.config)

    async def _change(self, notice: Notice, remote_id: str) -> Answer:
        ended = notice.type == CLOSED
        mapping = self.config.closed_fields if ended else self.config.changed_fields
        fields = fill(mapping, context(notice, None), self.config.time_zone)
        owner = None if ended else await self._owner(notice)
        if not fields and owner is None:
            return Answer("ok", remote_id=remote_id)
        return await self.ask(
            lambda token: self._dialect.update(token, remote_id, fields, owner),
            self._dialect.read,
        )

    async def _existing(self, key: str) -> CrmRecord | Answer | None:
        rows = await self.ask(lambda token: self._dialect.find(token, key), self._read_found)
        return rows if isinstance(rows, Answer) else next(iter(rows), None)

    def _read_found(self, reply: Reply) -> list[CrmRecord] | Answer:
        """Read the answer to a query: if it was lost, the query may be made again.

        A query changes nothing.
        """
        rows = self._dialect.read_found(reply)
        if isinstance(rows, Answer) and rows.result in {"ambiguous", "permanent"}:
            return replace(rows, result="retry")
        return rows

    async def ask(self, make: Callable[[str], Call], read: Callable[[Reply], T]) -> T | Answer:
        """Send one request with the access token."""
        token = await self._access.token()
        if isinstance(token, Answer):
            return token
        try:
            call = make(token)
        except UnusableToken:
            return Answer("refresh_token", error="the stored access token cannot be used")
        return read(await send_call(self._http, self._dialect.address(), call))
