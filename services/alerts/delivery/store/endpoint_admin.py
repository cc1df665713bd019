"""Lets operators create and change endpoints. Opens its own transactions.

`check`, which knows every kind, validates an endpoint's definition; secrets go to
`EndpointSecrets`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.endpoint import ENDPOINTS_MAX, SIGNING, Endpoint
from services.alerts.delivery.store.endpoint_secrets import EndpointSecrets, GeneratedSecret, Scheme
from services.alerts.store.tables import delivery as d
from services.alerts.store.tables import endpoint as e
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import rows_of

Check = Callable[[Endpoint, Collection[str]], None]
"""`check(endpoint, names of its secrets)`: raises Invalid, naming the field, if it cannot work."""

_DEFINED = ("kind", "url", "config", "route", "payload", "concurrency_max", "rate_per_s", "burst")
"""Columns that define an endpoint; a change of one makes a new version."""


class NoEndpoint(Exception):  # noqa: N818 (a word of the domain, like Invalid)
    """Raised where there is no endpoint of this id, or it was deleted."""


class FromSettings(Exception):  # noqa: N818 (a word of the domain, like Invalid)
    """Raised for an endpoint that is defined in the settings, and has to be changed there."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An endpoint as shown to operators: its row, and its secrets without their values."""

    row: Mapping[str, Any]
    secrets: Sequence[Mapping[str, Any]]


class EndpointAdmin:
    """Operations on endpoints; on one, they raise NoEndpoint or FromSettings."""

    def __init__(self, engine: AsyncEngine, secrets: EndpointSecrets, check: Check) -> None:
        self._engine = engine
        self._secrets = secrets
        self._check = check

    async def register(self, endpoints: Sequence[Endpoint], now: datetime) -> None:
        """Register the endpoints of the settings; those that are off stay off.

        An endpoint that the settings no longer name gets no new messages; what waits for it stays
        queued.
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

    async def create(
        self, endpoint: Endpoint, given: Mapping[str, str], scheme: Scheme, now: datetime
    ) -> GeneratedSecret | None:
        """Create an endpoint with the secrets `given`.

        For a webhook a key is generated and returned; it is never shown again. Raises Invalid if
        the endpoint cannot work or the id is taken.
        """
        names = {*given, SIGNING} if endpoint.kind == "webhook" else set(given)
        self._check(endpoint, names)
        async with unit_of_work(self._engine) as work:
            count = sa.select(sa.func.count()).where(e.c.deleted_at.is_(None))
            if (await work.connection.execute(count)).scalar_one() >= ENDPOINTS_MAX:
                raise Invalid("id", f"there are {ENDPOINTS_MAX} endpoints already: delete one")
            new = insert(e).values(
                id=endpoint.id, source="api", created_at=now, **_defined(endpoint)
            )
            done = await work.connection.execute(new.on_conflict_do_nothing())
            if done.rowcount == 0:
                raise Invalid("id", f"there is or was an endpoint {endpoint.id!r}: take another")
            for name, value in given.items():
                await self._secrets.put(work, endpoint.id, name, value, now)
            if endpoint.kind != "webhook" or SIGNING in given:
                return None
            return await self._secrets.make(work, endpoint.id, scheme, now)

    async def change(self, endpoint: Endpoint) -> None:
        """Replace the definition of an endpoint of the API."""
        async with unit_of_work(self._engine) as work:
            await self._row(work, endpoint.id)
            self._check(endpoint, await self._secrets.names(work, endpoint.id))
            await _update(work, endpoint.id, version=e.c.version + 1, **_defined(endpoint))

    async def rotate(
        self, endpoint_id: str, scheme: Scheme, overlap_hours: float, now: datetime
    ) -> GeneratedSecret:
        """Generate a new key of a webhook; earlier ones stay valid for `overlap_hours` more."""
        async with unit_of_work(self._engine) as work:
            row = await self._row(work, endpoint_id)
            if row["kind"] != "webhook":
                raise Invalid("kind", "only a webhook's key is ours to make: put the new secret")
            await self._secrets.retire(work, endpoint_id, SIGNING, overlap_hours, now)
            made = await self._secrets.make(work, endpoint_id, scheme, now)
            await _update(work, endpoint_id, version=e.c.version + 1)
        return made

    async def put_secret(self, endpoint_id: str, name: str, value: str, now: datetime) -> None:
        """Replace a secret that another system issued."""
        async with unit_of_work(self._engine) as work:
            row = await self._row(work, endpoint_id)
            if row["kind"] == "webhook":
                raise Invalid("name", "a webhook's key is made here: rotate it")
            await self._secrets.retire(work, endpoint_id, name, 0, now)
            await self._secrets.put(work, endpoint_id, name, value, now)
            await _update(work, endpoint_id, version=e.c.version + 1)

    async def list_all(self) -> list[Shown]:
        """Return every endpoint that is not deleted."""
        return await self._shown(e.c.deleted_at.is_(None))

    async def find(self, endpoint_id: str) -> Shown:
        """Return one endpoint."""
        found = await self._shown(sa.and_(e.c.deleted_at.is_(None), e.c.id == endpoint_id))
        if not found:
            raise NoEndpoint(endpoint_id)
        return found[0]

    async def pause(self, endpoint_id: str, now: datetime) -> None:
        """Pause an endpoint until it is enabled; its messages stay queued."""
        await self._set(endpoint_id, paused_at=sa.func.coalesce(e.c.paused_at, now))

    async def enable(self, endpoint_id: str) -> None:
        """Switch a paused or disabled endpoint on again; queued messages are sent.

        Raises Invalid where it cannot work, as it would be switched off at once.
        """
        off = ("disabled_at", "disabled_reason", "paused_at", "failing_since")
        async with unit_of_work(self._engine) as work:
            query = sa.select(e).where(e.c.id == endpoint_id, e.c.deleted_at.is_(None))
            row = (await work.connection.execute(query)).mappings().one_or_none()
            if row is not None:
                fixed = row["source"] == "settings"
                names = {SIGNING} if fixed else await self._secrets.names(work, endpoint_id)
                self._check(_addressed(row), names)
        await self._set(endpoint_id, **dict.fromkeys(off))

    async def switch_off(
        self, refused: Callable[[Endpoint], str | None], now: datetime
    ) -> dict[str, str]:
        """Switch off the endpoints for which `refused` gives a reason; return those that were on.

        They are returned with the reason.
        """
        off: dict[str, str] = {}
        async with unit_of_work(self._engine) as work:
            enabled = sa.select(e).where(e.c.deleted_at.is_(None), e.c.disabled_at.is_(None))
            rows = (await work.connection.execute(enabled.with_for_update())).mappings()
            for row in rows:
                if (why := refused(_addressed(row))) is not None:
                    off[row["id"]] = why
            for endpoint_id, why in off.items():
                await _update(work, endpoint_id, disabled_at=now, disabled_reason=why)
        return off

    async def ids(self) -> list[str]:
        """Return the ids of the endpoints that are not deleted."""
        query = sa.select(e.c.id).where(e.c.deleted_at.is_(None))
        async with unit_of_work(self._engine) as work:
            return list((await work.connection.execute(query)).scalars())

    async def delete(self, endpoint_id: str, now: datetime) -> None:
        """Delete an endpoint and its secrets; queued messages count as failed, with the reason.

        Its id is not reused: the log names it.
        """
        async with unit_of_work(self._engine) as work:
            await self._row(work, endpoint_id)
            await _update(work, endpoint_id, deleted_at=now)
            await self._secrets.forget(work, endpoint_id)
            await work.connection.execute(
                d.update()
                .where(d.c.endpoint_id == endpoint_id, d.c.status == "pending")
                .values(
                    status="failed", reason="its endpoint was deleted", finished_at=now, token=None
                )
            )

    async def _set(self, endpoint_id: str, **values: Any) -> None:
        change = e.update().where(e.c.id == endpoint_id, e.c.deleted_at.is_(None)).values(**values)
        async with unit_of_work(self._engine) as work:
            if (await work.connection.execute(change)).rowcount == 0:
                raise NoEndpoint(endpoint_id)

    async def _shown(self, which: sa.ColumnElement[bool]) -> list[Shown]:
        async with unit_of_work(self._engine) as work:
            query = sa.select(e).where(which).order_by(e.c.id)
            rows = await rows_of(work, query)
            return [Shown(row, await self._secrets.describe(work, row["id"])) for row in rows]

    async def _row(self, work: UnitOfWork, endpoint_id: str) -> Mapping[Any, Any]:
        """Return an endpoint that may be changed here, locked; raise FromSettings for others."""
        query = sa.select(e).where(e.c.id == endpoint_id, e.c.deleted_at.is_(None))
        row = (await work.connection.execute(query.with_for_update())).mappings().one_or_none()
        if row is None:
            raise NoEndpoint(endpoint_id)
        if row["source"] == "settings":
            raise FromSettings(endpoint_id)
        return row


def _addressed(row: Mapping[Any, Any]) -> Endpoint:
    """Read from a row the endpoint's address and protocol; its route is not read."""
    return Endpoint(
        id=row["id"],
        kind=row["kind"],
        url=row["url"],
        config=row["config"],
        payload=row["payload"],
    )


def _defined(endpoint: Endpoint) -> dict[str, Any]:
    values = {name: getattr(endpoint, name) for name in _DEFINED}
    return values | {
        "config": dict(endpoint.config),
        "route": msgspec.to_builtins(endpoint.route),
    }


async def _update(work: UnitOfWork, endpoint_id: str, **values: Any) -> None:
    await work.connection.execute(e.update().where(e.c.id == endpoint_id).values(**values))
