"""Endpoints as operators make and change them. Opens its own transactions.

A secret is shown once, when it is made; what is stored is sealed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.endpoint import Endpoint
from services.alerts.store.tables import endpoint as e
from services.alerts.store.vault import Vault
from shared.postgres.engine import unit_of_work

_DEFINED = ("kind", "url", "config", "route", "payload", "concurrency_max", "rate_per_s", "burst")
"""Columns that say what an endpoint is; a change of one is a new version of it."""


def _defined(endpoint: Endpoint) -> dict[str, Any]:
    values = {name: getattr(endpoint, name) for name in _DEFINED}
    return values | {
        "config": dict(endpoint.config),
        "route": msgspec.to_builtins(endpoint.route),
    }


class EndpointAdmin:
    """What may be done with endpoints."""

    def __init__(self, engine: AsyncEngine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault

    async def register(self, endpoints: Sequence[Endpoint], now: datetime) -> None:
        """Make known the endpoints of the settings; those that are off stay off.

        One that the settings no longer name gets nothing more; what waits for it waits.
        """
        ids = [endpoint.id for endpoint in endpoints]
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(
                e.update()
                .where(e.c.source == "settings", e.c.id.not_in(ids), e.c.deleted_at.is_(None))
                .values(deleted_at=now)
            )
            for endpoint in sorted(endpoints, key=lambda x: x.id):
                values = _defined(endpoint)
                new = insert(e).values(id=endpoint.id, source="settings", created_at=now, **values)
                changed = sa.or_(
                    e.c.deleted_at.is_not(None),
                    *(e.c[name].is_distinct_from(new.excluded[name]) for name in _DEFINED),
                )
                await work.connection.execute(
                    new.on_conflict_do_update(
                        index_elements=["id"],
                        set_={name: new.excluded[name] for name in _DEFINED}
                        | {"version": e.c.version + 1, "deleted_at": None, "source": "settings"},
                        where=changed,
                    )
                )

    async def list_all(self) -> list[dict[str, Any]]:
        """Every endpoint that is not deleted, without its secrets."""
        query = sa.select(e).where(e.c.deleted_at.is_(None)).order_by(e.c.id)
        async with unit_of_work(self._engine) as work:
            return [dict(row) for row in (await work.connection.execute(query)).mappings()]

    async def enable(self, endpoint_id: str) -> bool:
        """Switch an endpoint on again; False when there is no such endpoint."""
        change = e.update().where(e.c.id == endpoint_id, e.c.deleted_at.is_(None))
        async with unit_of_work(self._engine) as work:
            done = await work.connection.execute(
                change.values(
                    disabled_at=None, disabled_reason=None, paused_at=None, failing_since=None
                )
            )
        return done.rowcount == 1
