"""Bearer tokens: random, shown once, stored hashed, with scopes; one table per service.

A token carries 256 random bits, so a plain SHA-256 is safe storage: it cannot be guessed. The token
itself is never logged or stored.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import sqlalchemy as sa
from alembic import op
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.events import ID_LENGTH_MAX
from shared.http.borders import HOLDER, Holder
from shared.kernel.errors import Invalid
from shared.kernel.text import kept
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import select
from shared.runtime.clock import Clock

Scope = Literal[
    "events:write",
    "customers:read",
    "customers:erase",
    "customers:export",
    "tasks:write",
    "dead-letters:read",
    "dead-letters:write",
    "audit:read",
    "admin",
]
SCOPES: tuple[str, ...] = get_args(Scope)
PREFIX = "ebw_"
"""Makes a leaked token recognisable to secret scanners."""

USE_NOTED = timedelta(hours=1)
"""How exactly the last use of a token is stored: one write an hour, not one a request."""

_ONE_AT_A_TIME = "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"
"""Two tokens of one name must see each other."""

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
        *_later_columns(),
    )


def upgrade(schema: str) -> None:
    """Add what tokens have had since they can be limited, in a migration."""
    for column in _later_columns():
        op.add_column("api_token", column, schema=schema)


def _later_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("owner_ids", postgresql.ARRAY(sa.Text)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
    ]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """Creates, lists, revokes and checks tokens."""

    def __init__(self, engine: AsyncEngine, table: sa.Table, clock: Clock) -> None:
        self._engine = engine
        self._table = table
        self._clock = clock

    async def create(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        owner_ids: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """Create and return a token, which is shown only once.

        `owner_ids`: it sees their customers and tasks only. Raises Invalid for an unknown scope, or
        for the name of a token that is valid: entries of the audit name the token.
        """
        _check(name, scopes, owner_ids)
        t = self._table
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(sa.text(_ONE_AT_A_TIME.format(table=t.fullname)))
            same = sa.select(sa.func.count()).where(t.c.name == name, *self._valid())
            if (await work.connection.execute(same)).scalar_one():
                raise Invalid("name", f"a token {name!r} is valid: rotate or revoke it, see `list`")
            return await self._insert(work, name, scopes, owner_ids, expires_at)

    async def rotate(self, token_id: int, overlap: timedelta) -> str | None:
        """Return a new token in place of a valid one, which ends after `overlap`; None: no such.

        It has the name, the scopes and the owners of the old one.
        """
        t = self._table
        query = sa.select(t).where(t.c.id == token_id, *self._valid()).with_for_update()
        async with unit_of_work(self._engine) as work:
            old = (await work.connection.execute(query)).mappings().one_or_none()
            if old is None:
                return None
            ends = self._clock.now() + overlap
            change = t.update().where(t.c.id == token_id)
            await work.connection.execute(change.values(expires_at=ends))
            return await self._insert(work, old["name"], old["scopes"], old["owner_ids"], None)

    async def _insert(
        self,
        work: UnitOfWork,
        name: str,
        scopes: Sequence[str],
        owner_ids: Sequence[str] | None,
        expires_at: datetime | None,
    ) -> str:
        token = PREFIX + secrets.token_urlsafe(32)
        await work.connection.execute(
            self._table.insert().values(
                name=name,
                digest=_digest(token),
                scopes=list(scopes),
                created_at=self._clock.now(),
                owner_ids=None if owner_ids is None else list(owner_ids),
                expires_at=expires_at,
            )
        )
        return token

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every token without its digest, oldest first."""
        t = self._table
        query = sa.select(*(column for column in t.c if column.name != "digest"))
        return await select(self._engine, query.order_by(t.c.id))

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
        names = ("name", "id", "scopes", "owner_ids", "last_used_at")
        query = sa.select(*(t.c[name] for name in names)).where(
            t.c.digest == _digest(token), *self._valid()
        )
        async with unit_of_work(self._engine) as work:
            found = (await work.connection.execute(query)).one_or_none()
            if found is None:
                return None
            await self._note_use(work, found.id, found.last_used_at)
        owners = None if found.owner_ids is None else frozenset(found.owner_ids)
        return Holder(found.name, found.id, frozenset(found.scopes), owners)

    async def _note_use(self, work: UnitOfWork, token_id: int, last: datetime | None) -> None:
        now = self._clock.now()
        if last is None or now - last >= USE_NOTED:
            change = self._table.update().where(self._table.c.id == token_id)
            await work.connection.execute(change.values(last_used_at=now))

    def _valid(self) -> list[sa.ColumnElement[bool]]:
        t = self._table
        ends = sa.or_(t.c.expires_at.is_(None), t.c.expires_at > self._clock.now())
        return [t.c.revoked_at.is_(None), ends]


def _check(name: str, scopes: Sequence[str], owner_ids: Sequence[str] | None) -> None:
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise Invalid("scopes", f"{unknown} not among {list(SCOPES)}")
    if not scopes:
        raise Invalid("scopes", f"name at least one of {list(SCOPES)}")
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise Invalid("name", f"has 1 to {NAME_CHARS_MAX} characters")
    kept("name", name)
    for owner in owner_ids or ():
        if not 1 <= len(kept("owner_ids", owner)) <= ID_LENGTH_MAX:
            raise Invalid("owner_ids", f"each has 1 to {ID_LENGTH_MAX} characters")
    if owner_ids is not None and "admin" in scopes:
        raise Invalid("owner_ids", "a token with `admin` sees everything: name other scopes")


def held_by(
    tokens: Tokens, scope: Scope, *, by_owner: bool = False
) -> Callable[..., Awaitable[Holder]]:
    """Returns a FastAPI dependency that admits only requests with a token of `scope` (or admin).

    Its value is the holder. `Borders` has usually identified the holder before the body was read.
    `by_owner`: the route shows a holder who is limited to owners only what is theirs. Any other
    route refuses such a holder, so that a new route shows nothing by mistake.
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
        if holder.owner_ids is not None and not by_owner:
            raise HTTPException(403, "this token is limited to owners, and this route is not")
        return holder

    return check


def require(tokens: Tokens, scope: Scope) -> Callable[..., Awaitable[str]]:
    """Returns a dependency like `held_by`; its value is the token's name, to record who acted."""

    async def check(holder: Annotated[Holder, Depends(held_by(tokens, scope))]) -> str:
        return holder.name

    return check


def describe(row: dict[str, Any], now: datetime) -> str:
    """Formats one line about a token, for an operator; `now`: UTC."""
    ended, expires, used = row["revoked_at"], row["expires_at"], row["last_used_at"]
    state = "stands"
    if ended is not None:
        state = f"revoked {ended:%Y-%m-%d %H:%M}Z"
    elif expires is not None:
        word = "expired" if expires <= now else "expires"
        state = f"{word} {expires:%Y-%m-%d %H:%M}Z"
    owners = "" if row["owner_ids"] is None else f"  only {','.join(row['owner_ids'])}"
    last = "never used" if used is None else f"used {used:%Y-%m-%d}"
    scopes = ",".join(row["scopes"])
    return f"{row['id']:>4}  {row['name']:<24} {scopes:<40} {state}  {last}{owners}"
