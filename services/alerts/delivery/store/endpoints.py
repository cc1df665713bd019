"""Reads endpoints for the sender: those that may be sent to, with their secrets and rates."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from pydantic import SecretStr

from services.alerts.delivery.core import token_bucket
from services.alerts.delivery.core.endpoint import (
    SIGNING,
    Endpoint,
    Route,
    Secret,
)
from services.alerts.delivery.ports import (
    Routed,
)
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.delivery.store.endpoint_secrets import place
from services.alerts.store.tables import endpoint as e
from services.alerts.store.tables import endpoint_secret as s
from shared.kernel.errors import UNREADABLE, Invalid
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import rows_of

log = structlog.get_logger(__name__)


class Endpoints:
    """Statements on `alerts.endpoint`, within an open transaction.

    `fixed`: keys of the endpoints that the settings define; they are in no table. An endpoint is
    read with its secrets once for each of its versions.
    """

    def __init__(self, vault: Encryption, fixed: Mapping[str, Sequence[SecretStr]]) -> None:
        self._vault = vault
        self._fixed = fixed
        self._read: dict[str, tuple[int, Endpoint | None]] = {}

    async def routes(self, work: UnitOfWork) -> list[Routed]:
        """Return every endpoint that is not deleted: what waits for a paused one is sent later."""
        query = sa.select(e.c.id, e.c.route, e.c.payload)
        rows = await work.connection.execute(query.where(e.c.deleted_at.is_(None)).order_by(e.c.id))
        found = []
        for row in rows:
            try:
                found.append(Routed(row.id, _route(row.route), row.payload))
            except Invalid as wrong:
                # Which messages it may get is unknown: it gets none; others are unaffected.
                log.error("endpoint cannot be used", endpoint=row.id, trouble=str(wrong))  # noqa: TRY400
        return found

    async def sendable(self, work: UnitOfWork) -> list[Endpoint]:
        """Return endpoints that are neither paused nor switched off and have readable secrets."""
        rows = await work.driver.fetch(
            "SELECT id, version FROM alerts.endpoint WHERE deleted_at IS NULL "
            "AND paused_at IS NULL AND disabled_at IS NULL ORDER BY id"
        )
        stale = [row["id"] for row in rows if self._version(row["id"]) != row["version"]]
        if stale:
            await self._reread(work, stale)
        found = (self._read[row["id"]][1] for row in rows)
        return [endpoint for endpoint in found if endpoint is not None]

    async def find(self, work: UnitOfWork, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint that is not deleted, whatever its state.

        Raises Invalid if its secrets cannot be decrypted.
        """
        query = sa.select(e).where(e.c.id == endpoint_id, e.c.deleted_at.is_(None))
        row = (await work.connection.execute(query)).mappings().one_or_none()
        if row is None:
            return None
        return self._endpoint(dict(row), await self._secrets(work, [endpoint_id]))

    async def take(
        self, work: UnitOfWork, room: Mapping[str, int], now: datetime
    ) -> dict[str, int]:
        """Return how many messages each of these endpoints, which have rates, may send now.

        The tokens are taken from its bucket, which is locked until the commit; while another
        process holds the lock there are none.
        """
        granted = dict.fromkeys(room, 0)
        rows = await work.driver.fetch(
            "SELECT id, rate_per_s, burst, tokens, tokens_at FROM alerts.endpoint "
            "WHERE id = ANY($1::text[]) AND rate_per_s IS NOT NULL "
            "ORDER BY id FOR UPDATE SKIP LOCKED",
            list(room),
        )
        for row in rows:
            held = token_bucket.tokens(
                row["tokens"], row["tokens_at"], now, row["rate_per_s"], row["burst"]
            )
            granted[row["id"]] = taken = min(room[row["id"]], int(held))
            await work.driver.execute(
                "UPDATE alerts.endpoint SET tokens = $2, tokens_at = $3 WHERE id = $1",
                row["id"],
                held - taken,
                now,
            )
        return granted

    async def give_back(self, work: UnitOfWork, unused: Mapping[str, int]) -> None:
        """Return tokens that were taken in this transaction and not needed."""
        for endpoint_id, count in unused.items():
            await work.driver.execute(
                "UPDATE alerts.endpoint SET tokens = tokens + $2 WHERE id = $1",
                endpoint_id,
                count,
            )

    def _version(self, endpoint_id: str) -> int | None:
        found = self._read.get(endpoint_id)
        return None if found is None else found[0]

    async def _reread(self, work: UnitOfWork, ids: Sequence[str]) -> None:
        secrets = await self._secrets(work, ids)
        rows = await work.connection.execute(sa.select(e).where(e.c.id.in_(ids)))
        for row in rows.mappings():
            endpoint = None
            try:
                endpoint = self._endpoint(dict(row), secrets)
            except Invalid as wrong:
                # The others continue; messages for this one are sent once its key is there.
                log.error(  # noqa: TRY400 (the missing key is enough information)
                    "endpoint cannot be used", endpoint=row["id"], trouble=str(wrong)
                )
            self._read[row["id"]] = row["version"], endpoint

    async def _secrets(self, work: UnitOfWork, ids: Sequence[str]) -> list[dict[str, Any]]:
        query = sa.select(s).where(s.c.endpoint_id.in_(ids)).order_by(s.c.id.desc())
        return await rows_of(work, query)

    def _endpoint(self, row: dict[str, Any], secrets: Sequence[dict[str, Any]]) -> Endpoint:
        fixed = [Secret(SIGNING, value) for value in self._fixed.get(row["id"], ())]
        opened = [
            Secret(
                x["name"],
                SecretStr(self._vault.open(place(row["id"], x["name"]), x["key_id"], x["sealed"])),
                x["expires_at"],
            )
            for x in secrets
            if x["endpoint_id"] == row["id"]
        ]
        return Endpoint(
            id=row["id"],
            kind=row["kind"],
            url=row["url"],
            config=row["config"],
            secrets=tuple(fixed if row["source"] == "settings" else opened),
            route=_route(row["route"]),
            payload=row["payload"],
            concurrency_max=row["concurrency_max"],
            rate_per_s=row["rate_per_s"],
            burst=row["burst"],
            version=row["version"],
        )


def _route(stored: Any) -> Route:
    """Decode a stored route; raise Invalid where this version cannot read it."""
    try:
        return msgspec.convert(stored, Route)
    except UNREADABLE as wrong:
        raise Invalid("route", f"cannot be read: {wrong}") from None
