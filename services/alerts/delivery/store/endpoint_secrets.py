"""Stores secrets of endpoints: generated or given, encrypted, replaced with an overlap.

A value is returned once, when it is generated; it is never shown again.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.endpoint import OLD_SECRETS_MAX, OVERLAP_HOURS_MAX, SIGNING
from services.alerts.delivery.core.signature import (
    asymmetric,
    check,
    public_key,
    symmetric,
)
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.store.tables import endpoint_secret as s
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work

Scheme = Literal["v1", "v1a"]
"""`v1`: a shared secret, HMAC-SHA256. `v1a`: an ed25519 key; the receiver has its public half."""

KEY_BYTES = 32
"""Random bytes of a new key, of either scheme."""


def place(endpoint_id: str, name: str) -> str:
    """Return the place that a secret is bound to when it is encrypted."""
    return f"{endpoint_id}/{name}"


@dataclass(frozen=True, slots=True)
class GeneratedSecret:
    """A new key, to be shown once."""

    secret: str = field(repr=False)
    public_key: str | None
    """The key with which a receiver of `v1a` verifies; it then does not need the secret."""


class EndpointSecrets:
    """Statements on `alerts.endpoint_secret`."""

    def __init__(self, vault: Encryption) -> None:
        self._vault = vault

    async def make(
        self, work: UnitOfWork, endpoint_id: str, scheme: Scheme, now: datetime
    ) -> GeneratedSecret:
        """Generate a new signing key."""
        random = os.urandom(KEY_BYTES)
        secret = symmetric(random) if scheme == "v1" else asymmetric(random)
        await self.put(work, endpoint_id, SIGNING, secret, now)
        return GeneratedSecret(secret, public_key(secret))

    async def put(
        self, work: UnitOfWork, endpoint_id: str, name: str, value: str, now: datetime
    ) -> None:
        """Store a secret, encrypted."""
        if name == SIGNING:
            check(value)
        key_id, sealed = self._vault.seal(place(endpoint_id, name), value)
        await work.connection.execute(
            s.insert().values(
                endpoint_id=endpoint_id, name=name, key_id=key_id, sealed=sealed, created_at=now
            )
        )

    async def retire(
        self, work: UnitOfWork, endpoint_id: str, name: str, overlap_hours: float, now: datetime
    ) -> None:
        """Keep the current secret of this name valid for `overlap_hours` more; delete expired ones.

        Raises Invalid when there would be too many old ones.
        """
        if not 0 <= overlap_hours <= OVERLAP_HOURS_MAX:
            raise Invalid("overlap_hours", f"must be 0 to {OVERLAP_HOURS_MAX}")
        named = sa.and_(s.c.endpoint_id == endpoint_id, s.c.name == name)
        until = now + timedelta(hours=overlap_hours)
        await work.connection.execute(
            s.update().where(named, s.c.expires_at.is_(None)).values(expires_at=until)
        )
        await work.connection.execute(s.delete().where(named, s.c.expires_at <= now))
        old = sa.select(sa.func.count()).select_from(s).where(named)
        if (await work.connection.execute(old)).scalar_one() > OLD_SECRETS_MAX:
            raise Invalid("secret", f"{OLD_SECRETS_MAX} old ones still count: wait for one to end")

    async def names(self, work: UnitOfWork, endpoint_id: str) -> set[str]:
        """Return the names of the secrets that an endpoint has."""
        query = sa.select(s.c.name).distinct().where(s.c.endpoint_id == endpoint_id)
        return set((await work.connection.execute(query)).scalars())

    async def describe(self, work: UnitOfWork, endpoint_id: str) -> Sequence[Mapping[str, Any]]:
        """Return each secret without its value, newest first; a `v1a` key with its public half."""
        query = sa.select(s).where(s.c.endpoint_id == endpoint_id).order_by(s.c.id.desc())
        rows = (await work.connection.execute(query)).mappings()
        return [
            {
                "name": row["name"],
                "created_at": row["created_at"],
                "expires_at": row["expires_at"],
                "public_key": self._public(dict(row)),
            }
            for row in rows
        ]

    async def forget(self, work: UnitOfWork, endpoint_id: str) -> None:
        """Delete every secret of an endpoint."""
        await work.connection.execute(s.delete().where(s.c.endpoint_id == endpoint_id))

    async def reencrypt(self, engine: AsyncEngine) -> int:
        """Encrypt with the current key what another key encrypted; return how many there were.

        Raises Invalid when one cannot be decrypted; then nothing is changed.
        """
        changed = 0
        async with unit_of_work(engine) as work:
            query = sa.select(s).where(s.c.key_id != self._vault.key_id).with_for_update()
            for row in (await work.connection.execute(query)).mappings().all():
                bound = place(row["endpoint_id"], row["name"])
                value = self._vault.open(bound, row["key_id"], row["sealed"])
                key_id, sealed = self._vault.seal(bound, value)
                await work.connection.execute(
                    s.update().where(s.c.id == row["id"]).values(key_id=key_id, sealed=sealed)
                )
                changed += 1
        return changed

    def _public(self, row: Mapping[str, Any]) -> str | None:
        if row["name"] != SIGNING:
            return None
        try:
            value = self._vault.open(
                place(row["endpoint_id"], row["name"]), row["key_id"], row["sealed"]
            )
        except Invalid:
            return None  # listing must not require the key; the sender reports what is missing
        return public_key(value)
