"""Interfaces of connectors: token leases, owner tables, polls and callbacks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.alerts.connectors.core.token import Token, TokenLease
from services.alerts.connectors.core.verdict_mapping import CrmRecord, VerdictRule
from services.alerts.delivery.core.retry import Answer


class TokenStore(Protocol):
    """Store in which processes share the access tokens of CRMs."""

    async def read(self, endpoint_id: str, version: int) -> Token | None: ...
    async def take_lease(
        self, endpoint_id: str, now: datetime, until: datetime, since: datetime, most: int
    ) -> TokenLease: ...
    async def end_lease(self, endpoint_id: str, version: int, token: Token | None) -> None: ...


class OwnerTable(Protocol):
    """Maps account owners to the users of each CRM."""

    async def remote(self, endpoint_id: str, owner_id: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll of a CRM for changes, to be made by this process."""

    since: datetime
    """Changes before it have been read."""
    until: datetime
    """No other process polls until then."""
    watched_until: datetime | None
    """Until when the CRM notifies us of changes by itself."""


class ChangeReader(Protocol):
    """A connector of a CRM that keeps tasks as records and can be polled for their changes."""

    async def changes(self, since: datetime) -> list[CrmRecord] | Answer: ...
    def verdict_of(self, found: CrmRecord) -> VerdictRule | None: ...
    async def watch(self, now: datetime, until: datetime | None) -> datetime | Answer | None: ...
    async def refresh(self, since: datetime) -> Answer | None: ...


class MemberPace(Protocol):
    """Rate at which a member of a CRM may be sent messages."""

    async def wait_s(self, endpoint_id: str, member: str, now: datetime) -> float: ...
