"""Bearer tokens: random, shown once, stored hashed, with scopes; one table per service.

A token carries 256 random bits, so a plain SHA-256 is safe storage: it cannot be guessed. The token
itself is never logged or stored.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from alembic import op
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.events import ID_LENGTH_MAX
from shared.http.borders import HOLDER
from shared.http.declared import admits
from shared.http.holder import Holder
from shared.http.on_behalf import (
    HEADER,
    SALT_BYTES,
    UNAUTHORIZED,
    NotBelieved,
    believed,
    claim_of,
    secret_of,
)
from shared.http.scopes import ADMIN, ON_BEHALF, SCOPES, Scope
from shared.kernel.errors import Invalid
from shared.kernel.text import kept
from shared.postgres.audit import State
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import change, select
from shared.runtime.clock import Clock

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
        *_columns_of_persons(),
    )


def upgrade(schema: str) -> None:
    """Add what tokens have had since they can be limited, in a migration."""
    for column in _later_columns():
        op.add_column("api_token", column, schema=schema)


def upgrade_persons(schema: str) -> None:
    """Add what tokens have had since they may act for a person, in a migration."""
    for column in _columns_of_persons():
        op.add_column("api_token", column, schema=schema)


def _later_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("owner_ids", postgresql.ARRAY(sa.Text)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
    ]


def states_of(schema: str) -> tuple[State, State]:
    """Returns what the audit keeps of a token that is named, and of one that has a number."""
    query = (
        "SELECT id, name, scopes, owner_ids, is_person, expires_at, revoked_at "  # noqa: S608
        f"FROM {schema}.api_token WHERE %s ORDER BY id"
    )
    same = f"name = (SELECT name FROM {schema}.api_token WHERE id::text = $1)"  # noqa: S608
    valid = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
    return State(query % f"name = $1 AND {valid}", ("name",)), State(
        query % f"{same} AND ({valid} OR id::text = $1)", ("token_id", "id")
    )


def _columns_of_persons() -> list[sa.Column[Any]]:
    return [
        sa.Column("is_person", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("signing_salt", sa.LargeBinary),
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
        is_person: bool = False,
    ) -> str:
        """Create and return a token, which is shown only once.

        `owner_ids`: it sees their customers and tasks only. `is_person`: it is one person's own.
        Raises Invalid for an unknown scope, or for the name of a token that is valid: entries of
        the audit name the token.
        """
        _check(name, scopes, owner_ids)
        t = self._table
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(sa.text(_ONE_AT_A_TIME.format(table=t.fullname)))
            same = sa.select(sa.func.count()).where(t.c.name == name, *self._valid())
            if (await work.connection.execute(same)).scalar_one():
                raise Invalid("name", f"a token {name!r} is valid: rotate or revoke it, see `list`")
            return await self._insert(
                work, name=name, scopes=list(scopes), expires_at=expires_at, is_person=is_person,
                owner_ids=None if owner_ids is None else list(owner_ids),
            )  # fmt: skip

    async def rotate(
        self, token_id: int, overlap: timedelta, *, ends: datetime | None = None
    ) -> str | None:
        """Return a new token in place of a valid one, which ends after `overlap`; None: no such.

        `ends`: when the new one expires. It has the name, the scopes and the owners of the old one,
        and a signing secret of its own.
        """
        t = self._table
        query = sa.select(t).where(t.c.id == token_id, *self._valid()).with_for_update()
        async with unit_of_work(self._engine) as work:
            old = (await work.connection.execute(query)).mappings().one_or_none()
            if old is None:
                return None
            last = self._clock.now() + overlap
            ended = t.update().where(t.c.id == token_id).values(expires_at=last)
            await work.connection.execute(ended)
            same = {name: old[name] for name in ("name", "scopes", "owner_ids", "is_person")}
            return await self._insert(work, **same, expires_at=ends)

    async def _insert(self, work: UnitOfWork, **values: Any) -> str:
        token = PREFIX + secrets.token_urlsafe(32)
        salt = secrets.token_bytes(SALT_BYTES) if ON_BEHALF in values["scopes"] else None
        await work.connection.execute(
            self._table.insert().values(
                digest=_digest(token), signing_salt=salt, created_at=self._clock.now(), **values
            )
        )
        return token

    async def signing_secret(self, token: str) -> str | None:
        """Return the secret by which a valid token names a person; None: it may not."""
        async with unit_of_work(self._engine) as work:
            found = await self._find(work, token)
        return None if found is None else _secret(token, found)

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every token without what it is checked by, oldest first."""
        t = self._table
        query = sa.select(*(each for each in t.c if each.name not in {"digest", "signing_salt"}))
        return await select(self._engine, query.order_by(t.c.id))

    async def revoke(self, token_id: int) -> bool:
        """Revoke a token now; False when there is no such token or it was already revoked."""
        t = self._table
        valid = t.update().where(t.c.id == token_id, t.c.revoked_at.is_(None))
        return await change(self._engine, valid.values(revoked_at=self._clock.now())) == 1

    async def holder_of(self, token: str, claim: str | None = None) -> Holder | None:
        """Return the holder of a valid token; None otherwise.

        `claim`: the header that names the person for whom it acts. Raises NotBelieved for one that
        the token may not send or that is not genuine, and Invalid for one that cannot be.
        """
        async with unit_of_work(self._engine) as work:
            found = await self._find(work, token)
            if found is None:
                return None
            await self._note_use(work, found.id, found.last_used_at)
        owners = None if found.owner_ids is None else frozenset(found.owner_ids)
        holder = Holder(
            found.name, found.id, frozenset(found.scopes), owners, found.is_person, found.expires_at
        )
        if claim is None:
            return holder
        secret = _secret(token, found)
        if secret is None:
            raise NotBelieved(403, f"{HEADER}: this token lacks the scope `{ON_BEHALF}`")
        return holder.acting_for(believed(claim, secret, self._clock.now()))

    async def _find(self, work: UnitOfWork, token: str) -> Any:
        """Return a valid token's row; None otherwise."""
        query = sa.select(self._table).where(self._table.c.digest == _digest(token), *self._valid())
        return (await work.connection.execute(query)).one_or_none()

    async def _note_use(self, work: UnitOfWork, token_id: int, last: datetime | None) -> None:
        now = self._clock.now()
        if last is None or now - last >= USE_NOTED:
            used = self._table.update().where(self._table.c.id == token_id)
            await work.connection.execute(used.values(last_used_at=now))

    def _valid(self) -> list[sa.ColumnElement[bool]]:
        t = self._table
        ends = sa.or_(t.c.expires_at.is_(None), t.c.expires_at > self._clock.now())
        return [t.c.revoked_at.is_(None), ends]


def _secret(token: str, row: Any) -> str | None:
    may = ON_BEHALF in row.scopes and row.signing_salt is not None
    return secret_of(token, row.signing_salt) if may else None


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
    if owner_ids is not None and ADMIN in scopes:
        raise Invalid("owner_ids", "a token with `admin` sees everything: name other scopes")


def held_by(
    tokens: Tokens, *scopes: Scope, by_owner: bool = False
) -> Callable[..., Awaitable[Holder]]:
    """Returns a FastAPI dependency that admits only tokens with one of `scopes` (or `admin`).

    No scope: any valid token. Its value is the holder. `Borders` has usually identified the holder
    before the body was read. `by_owner`: the route shows a holder who is limited to owners only
    what is theirs. Any other route refuses such a holder, so that a new route shows nothing by
    mistake.
    """

    async def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Holder:
        holder: Holder | None = request.scope.get(HOLDER)
        if holder is None:
            holder = await _identified(tokens, request, credentials)
        if scopes and not holder.scopes & {*scopes, ADMIN}:
            which = " or ".join(f"`{scope}`" for scope in scopes)
            raise HTTPException(403, f"{_who(holder)} lacks the scope {which}")
        if holder.limits and not by_owner:
            raise HTTPException(403, f"{_who(holder)} is limited to owners, and this route is not")
        return holder

    return admits(check, scopes)


async def _identified(
    tokens: Tokens, request: Request, credentials: HTTPAuthorizationCredentials | None
) -> Holder:
    """Return who sends a request to a path that `Borders` leaves open."""
    challenge = {"WWW-Authenticate": "Bearer"}
    if credentials is None:
        raise HTTPException(401, "send `Authorization: Bearer <token>`", challenge)
    try:
        holder = await tokens.holder_of(credentials.credentials, claim_of(request.headers))
    except NotBelieved as refused:
        headers = challenge if refused.status == UNAUTHORIZED else None
        raise HTTPException(refused.status, refused.detail, headers) from None
    if holder is None:
        raise HTTPException(401, "this token is unknown or was revoked", challenge)
    return holder


def _who(holder: Holder) -> str:
    return "this token" if holder.person is None else f"this token for {holder.person.id!r}"


def require(tokens: Tokens, *scopes: Scope) -> Callable[..., Awaitable[str]]:
    """Returns a dependency like `held_by`; its value names who acted, for records."""

    async def check(holder: Annotated[Holder, Depends(held_by(tokens, *scopes))]) -> str:
        return holder.actor

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
    person = "  a person's" if row["is_person"] else ""
    last = "never used" if used is None else f"used {used:%Y-%m-%d}"
    scopes = ",".join(row["scopes"])
    return f"{row['id']:>4}  {row['name']:<24} {scopes:<40} {state}  {last}{person}{owners}"
