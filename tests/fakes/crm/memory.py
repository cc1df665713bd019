"""In-memory versions of the connectors' tables."""

from dataclasses import dataclass, field
from datetime import datetime

from services.alerts.connectors.core.limits import MEMBER_BURST, MEMBER_RATE_PER_S
from services.alerts.connectors.core.token import Token, TokenLease
from services.alerts.delivery.core import token_bucket


@dataclass(slots=True)
class MemoryTokens:
    """Access tokens shared by the `Access`es of one test, as processes share a table."""

    tokens: dict[str, tuple[int, Token]] = field(default_factory=dict)
    turns: dict[str, datetime] = field(default_factory=dict)
    asked: dict[str, list[datetime]] = field(default_factory=dict)

    async def read(self, endpoint_id: str, version: int) -> Token | None:
        of, token = self.tokens.get(endpoint_id, (None, None))
        return token if of == version else None

    async def take_lease(
        self, endpoint_id: str, now: datetime, until: datetime, since: datetime, most: int
    ) -> TokenLease:
        if self.turns.get(endpoint_id, now) > now:
            return "busy"
        recent = [at for at in self.asked.get(endpoint_id, ()) if at > since]
        if len(recent) >= most:
            return "spent"
        self.turns[endpoint_id], self.asked[endpoint_id] = until, [*recent, now]
        return "mine"

    async def end_lease(self, endpoint_id: str, version: int, token: Token | None) -> None:
        self.turns.pop(endpoint_id, None)
        if token is not None:
            self.tokens[endpoint_id] = version, token


@dataclass(slots=True)
class MemoryOwners:
    """The owner table: (endpoint, our id) -> the CRM's id."""

    rows: dict[tuple[str, str], str] = field(default_factory=dict)

    async def remote(self, endpoint_id: str, owner_id: str) -> str | None:
        return self.rows.get((endpoint_id, owner_id))


@dataclass(slots=True)
class MemoryMembers:
    """A token bucket for each member."""

    held: dict[tuple[str, str], tuple[float, datetime]] = field(default_factory=dict)

    async def wait_s(self, endpoint_id: str, member: str, now: datetime) -> float:
        stored, since = self.held.get((endpoint_id, member), (float(MEMBER_BURST), now))
        tokens = token_bucket.tokens(stored, since, now, MEMBER_RATE_PER_S, MEMBER_BURST)
        if tokens < 1:
            return (1 - tokens) / MEMBER_RATE_PER_S
        self.held[endpoint_id, member] = tokens - 1, now
        return 0.0
