"""Tables of the CRM connectors: owners, access tokens, marks of polls, callbacks.

Each statement is a transaction of its own: nothing here is part of a larger decision.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.core.limits import MEMBER_BURST, MEMBER_RATE_PER_S
from services.alerts.connectors.core.token import Token, TokenLease
from services.alerts.connectors.ports import (
    Poll,
)
from services.alerts.delivery.core import token_bucket
from services.alerts.delivery.store.encryption import Encryption
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import execute, fetch, fetch_value

CALLBACKS_KEPT = timedelta(days=1)
"""How long a callback is remembered: WeCom repeats one for seconds, and refuses it after 5 min."""


class OwnerRows:
    """Statements on `alerts.endpoint_owner`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def remote(self, endpoint_id: str, owner_id: str) -> str | None:
        """Return an account owner's id in the CRM of an endpoint."""
        found = await fetch_value(
            self._engine,
            "SELECT remote_id FROM alerts.endpoint_owner WHERE endpoint_id = $1 AND owner_id = $2",
            endpoint_id,
            owner_id,
        )
        return None if found is None else str(found)

    async def all_of(self, endpoint_id: str) -> dict[str, str]:
        """Return the whole owner table of an endpoint."""
        rows = await fetch(
            self._engine,
            "SELECT owner_id, remote_id FROM alerts.endpoint_owner "
            "WHERE endpoint_id = $1 ORDER BY owner_id",
            endpoint_id,
        )
        return {row["owner_id"]: row["remote_id"] for row in rows}

    async def replace(self, endpoint_id: str, owners: Mapping[str, str]) -> None:
        """Replace the owner table of an endpoint."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                "DELETE FROM alerts.endpoint_owner WHERE endpoint_id = $1", endpoint_id
            )
            await work.driver.execute(
                "INSERT INTO alerts.endpoint_owner (endpoint_id, owner_id, remote_id) "
                "SELECT $1, o, r FROM unnest($2::text[], $3::text[]) AS u(o, r)",
                endpoint_id,
                list(owners),
                list(owners.values()),
            )


class TokenRows:
    """Statements on `alerts.access_token`: the token is encrypted, bound to its endpoint."""

    def __init__(self, engine: AsyncEngine, vault: Encryption) -> None:
        self._engine = engine
        self._vault = vault

    async def read(self, endpoint_id: str, version: int) -> Token | None:
        """Return the token obtained for this version of the endpoint, if any."""
        async with unit_of_work(self._engine) as work:
            row = await work.driver.fetchrow(
                "SELECT key_id, sealed, obtained_at, expires_at FROM alerts.access_token "
                "WHERE endpoint_id = $1 AND version = $2 AND sealed IS NOT NULL",
                endpoint_id,
                version,
            )
        if row is None:
            return None
        try:
            value = self._vault.open(_place(endpoint_id), row["key_id"], row["sealed"])
        except Invalid:
            return None  # its key is gone: a new token is requested, and encrypted with today's key
        return Token(value, row["obtained_at"], row["expires_at"])

    async def take_lease(
        self, endpoint_id: str, now: datetime, until: datetime, since: datetime, most: int
    ) -> TokenLease:
        """Take the lease to request a token, held until `until`.

        Not granted if another process holds it, or `most` tokens have been requested after `since`.
        """
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                "INSERT INTO alerts.access_token (endpoint_id) VALUES ($1) ON CONFLICT DO NOTHING",
                endpoint_id,
            )
            row = await work.driver.fetchrow(
                "SELECT turn_until, ARRAY(SELECT a FROM unnest(asked_at) a WHERE a > $2) AS asked "
                "FROM alerts.access_token WHERE endpoint_id = $1 FOR UPDATE",
                endpoint_id,
                since,
            )
            assert row is not None  # noqa: S101 (it was just inserted)
            if row["turn_until"] is not None and row["turn_until"] > now:
                return "busy"
            if len(row["asked"]) >= most:
                return "spent"
            await work.driver.execute(
                "UPDATE alerts.access_token SET turn_until = $2, asked_at = $3 "
                "WHERE endpoint_id = $1",
                endpoint_id,
                until,
                [*row["asked"], now],
            )
        return "mine"

    async def end_lease(self, endpoint_id: str, version: int, token: Token | None) -> None:
        """Release the lease and store the token obtained."""
        async with unit_of_work(self._engine) as work:
            if token is None:
                await work.driver.execute(
                    "UPDATE alerts.access_token SET turn_until = NULL WHERE endpoint_id = $1",
                    endpoint_id,
                )
                return
            key_id, sealed = self._vault.seal(_place(endpoint_id), token.value)
            await work.driver.execute(
                "UPDATE alerts.access_token SET turn_until = NULL, version = $2, key_id = $3, "
                "sealed = $4, obtained_at = $5, expires_at = $6 WHERE endpoint_id = $1",
                endpoint_id,
                version,
                key_id,
                sealed,
                token.obtained_at,
                token.expires_at,
            )


class MemberRows:
    """Statements on `alerts.member_pace`, at WeCom's limits."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def wait_s(self, endpoint_id: str, member: str, now: datetime) -> float:
        """Take one message of the member's rate and return 0; else the seconds to wait."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                "INSERT INTO alerts.member_pace (endpoint_id, member, tokens, tokens_at) "
                "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                endpoint_id,
                member,
                float(MEMBER_BURST),
                now,
            )
            row = await work.driver.fetchrow(
                "SELECT tokens, tokens_at FROM alerts.member_pace "
                "WHERE endpoint_id = $1 AND member = $2 FOR UPDATE",
                endpoint_id,
                member,
            )
            assert row is not None  # noqa: S101 (it was just inserted)
            held = token_bucket.tokens(
                row["tokens"], row["tokens_at"], now, MEMBER_RATE_PER_S, MEMBER_BURST
            )
            if held < 1:
                return (1 - held) / MEMBER_RATE_PER_S
            await work.driver.execute(
                "UPDATE alerts.member_pace SET tokens = $3, tokens_at = $4 "
                "WHERE endpoint_id = $1 AND member = $2",
                endpoint_id,
                member,
                held - 1,
                now,
            )
        return 0.0


class PollRows:
    """Statements on `alerts.look`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def begin(self, endpoint_id: str, now: datetime, until: datetime) -> Poll | None:
        """Take the due poll, which no other process makes until `until`; None: none is due.

        The first poll of an endpoint reads changes from now on.
        """
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                "INSERT INTO alerts.look (endpoint_id, since, next_at) VALUES ($1, $2, $2) "
                "ON CONFLICT DO NOTHING",
                endpoint_id,
                now,
            )
            row = await work.driver.fetchrow(
                "UPDATE alerts.look SET next_at = $3 WHERE endpoint_id = $1 AND next_at <= $2 "
                "RETURNING since, watched_until",
                endpoint_id,
                now,
                until,
            )
        return None if row is None else Poll(row["since"], until, row["watched_until"])

    async def end(self, endpoint_id: str, look: Poll, next_at: datetime) -> None:
        """Store how far a poll has read, and when to poll again.

        A poll that was hastened meanwhile stays so.
        """
        await execute(
            self._engine,
            "UPDATE alerts.look SET since = greatest(since, $2), watched_until = $3, "
            "next_at = CASE WHEN next_at < $5 THEN next_at ELSE $4 END "
            "WHERE endpoint_id = $1",
            endpoint_id,
            look.since,
            look.watched_until,
            next_at,
            look.until,
        )

    async def hasten(self, endpoint_id: str, at: datetime) -> None:
        """Poll no later than `at`."""
        await execute(
            self._engine,
            "UPDATE alerts.look SET next_at = least(next_at, $2) WHERE endpoint_id = $1",
            endpoint_id,
            at,
        )


class CallbackRows:
    """Statements on `alerts.callback`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def seen(self, endpoint_id: str, key: str) -> bool:
        """Return whether a callback was acted on."""
        return bool(
            await fetch_value(
                self._engine,
                "SELECT true FROM alerts.callback WHERE endpoint_id = $1 AND key = $2",
                endpoint_id,
                key,
            )
        )

    async def note(self, endpoint_id: str, key: str, at: datetime) -> None:
        """Record that a callback was acted on, and delete records older than any repetition."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                "DELETE FROM alerts.callback WHERE endpoint_id = $1 AND seen_at < $2",
                endpoint_id,
                at - CALLBACKS_KEPT,
            )
            await work.driver.execute(
                "INSERT INTO alerts.callback (endpoint_id, key, seen_at) VALUES ($1, $2, $3) "
                "ON CONFLICT DO NOTHING",
                endpoint_id,
                key,
                at,
            )


def _place(endpoint_id: str) -> str:
    return f"{endpoint_id}/access token"
