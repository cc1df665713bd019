"""Bearer tokens: random, shown once, stored hashed, with scopes; one table per service.

A token carries 256 random bits, so a plain SHA-256 is safe storage: it cannot be guessed. The token
itself is never logged or stored.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import sqlalchemy as sa
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.http.borders import HOLDER, Holder
from shared.kernel.errors import Invalid
from shared.kernel.text import kept
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock

Scope = Literal[
    "events:write",
    "customers:read",
    "customers:erase",
    "tasks:write",
    "dead-letters:read",
    "dead-letters:write",
    "audit:read",
    "admin",
]
SCOPES: tuple[str, ...] = get_args(Scope)
PREFIX = "ebw_"
"""Makes a leaked token recognisable to secret scanners."""

NAME_CHARS_MAX = 100
"""Characters of a token's name, which names its user."""

_bearer = HTTPBearer(auto_error=False)


def token_table(metadata: sa.MetaData) -> sa.Table:
    """Builds the table of tokens in a service's schema."""
    return sa.Table(
        "api_token",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """Creates, lists, revokes and checks tokens."""

    def __init__(self, engine: AsyncEngine, table: sa.Table, clock: Clock) -> None:
        self._engine = engine
        self._table = table
        self._clock = clock

    async def create(self, name: str, scopes: Sequence[str]) -> str:
        """Create and return a token, which is shown only once; Invalid for an unknown scope."""
        if unknown := sorted(set(scopes) - set(SCOPES)):
            raise Invalid("scopes", f"{unknown} not among {list(SCOPES)}")
        if not scopes:
            raise Invalid("scopes", f"name at least one of {list(SCOPES)}")
        if not 1 <= len(name) <= NAME_CHARS_MAX:
            raise Invalid("name", f"has 1 to {NAME_CHARS_MAX} characters")
        kept("name", name)
        token = PREFIX + secrets.token_urlsafe(32)
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(
                self._table.insert().values(
                    name=name,
                    digest=_digest(token),
                    scopes=list(scopes),
                    created_at=self._clock.now(),
                )
            )
        return token

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every token without its digest, oldest first."""
        t = self._table
        query = sa.select(t.c.id, t.c.name, t.c.scopes, t.c.created_at, t.c.revoked_at)
        async with unit_of_work(self._engine) as work:
            rows = await work.connection.execute(query.order_by(t.c.id))
            return [dict(row) for row in rows.mappings()]

    async def revoke(self, token_id: int) -> bool:
        """Revoke a token now; False when there is no such token or it was already revoked."""
        t = self._table
        change = t.update().where(t.c.id == token_id, t.c.revoked_at.is_(None))
        async with unit_of_work(self._engine) as work:
            done = await work.connection.execute(change.values(revoked_at=self._clock.now()))
        return done.rowcount == 1

    async def holder_of(self, token: str) -> Holder | None:
        """Return the holder of a valid token; None otherwise."""
        t = self._table
        query = sa.select(t.c.name, t.c.id, t.c.scopes).where(
            t.c.digest == _digest(token), t.c.revoked_at.is_(None)
        )
        async with unit_of_work(self._engine) as work:
            found = (await work.connection.execute(query)).one_or_none()
        if found is None:
            return None
        return Holder(found.name, found.id, frozenset(found.scopes))


def held_by(tokens: Tokens, scope: Scope) -> Callable[..., Awaitable[Holder]]:
    """Returns a FastAPI dependency that admits only requests with a token of `scope` (or admin).

    Its value is the holder. `Borders` has usually identified the holder before the body was read.
    """

    async def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Holder:
        challenge = {"WWW-Authenticate": "Bearer"}
        holder: Holder | None = request.scope.get(HOLDER)
        if holder is None:
            if credentials is None:
                raise HTTPException(401, "send `Authorization: Bearer <token>`", challenge)
            holder = await tokens.holder_of(credentials.credentials)
        if holder is None:
            raise HTTPException(401, "this token is unknown or was revoked", challenge)
        if not holder.scopes & {scope, "admin"}:
            raise HTTPException(403, f"this token lacks the scope `{scope}`")
        return holder

    return check


def require(tokens: Tokens, scope: Scope) -> Callable[..., Awaitable[str]]:
    """Returns a dependency like `held_by`; its value is the token's name, to record who acted."""

    async def check(holder: Annotated[Holder, Depends(held_by(tokens, scope))]) -> str:
        return holder.name

    return check


def describe(row: dict[str, Any]) -> str:
    """Formats one line about a token, for an operator."""
    ended: datetime | None = row["revoked_at"]
    state = "stands" if ended is None else f"revoked {ended:%Y-%m-%d %H:%M}Z"
    return f"{row['id']:>4}  {row['name']:<24} {','.join(row['scopes']):<40} {state}"
