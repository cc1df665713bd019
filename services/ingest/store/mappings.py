"""SQL statements on mappings."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from services.ingest.ports import StoredMapping
from services.ingest.store.tables import mapping
from shared.kernel.errors import Invalid
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import Statements, select

MAPPINGS_MAX: Final = 200
"""Mappings of one deployment; each is compiled in every process."""


class Mappings(Statements):
    """Implements `ports.MappingStore`, and writes for the operator's commands."""

    async def current(self) -> list[StoredMapping]:
        """Return the newest version of each, by name."""
        async with unit_of_work(self._engine) as work:
            return await self._current(work)

    async def versions(self, name: str, limit: int) -> list[StoredMapping]:
        """Return the versions of one, the newest first."""
        t = mapping.c
        query = sa.select(mapping).where(t.name == name).order_by(t.version.desc()).limit(limit)
        return [StoredMapping(**row) for row in await select(self._engine, query)]

    async def put(
        self,
        name: str,
        document: str,
        topics: tuple[str, ...],
        http_sources: tuple[str, ...],
        actor: str,
        at: datetime,
        note: str | None = None,
    ) -> int:
        """Store a new version and return its number.

        Raises Invalid where a topic or an HTTP source belongs to another mapping.
        """
        async with unit_of_work(self._engine) as work:
            # One at a time: two that claim the same topic must see each other.
            await work.connection.execute(
                sa.text("LOCK TABLE ingest.mapping IN SHARE ROW EXCLUSIVE MODE")
            )
            current = await self._current(work)
            others = [each for each in current if each.name != name]
            if len(others) >= MAPPINGS_MAX:
                raise Invalid("mapping", f"there are {MAPPINGS_MAX} mappings, no more are taken")
            for other in others:
                _refuse_shared("topics", set(topics) & set(other.topics), other)
                _refuse_shared("http", set(http_sources) & set(other.http_sources), other)
            version = 1 + max((each.version for each in current if each.name == name), default=0)
            await work.connection.execute(
                mapping.insert().values(
                    name=name,
                    version=version,
                    document=document,
                    topics=list(topics),
                    http_sources=list(http_sources),
                    created_at=at,
                    actor=actor,
                    note=note,
                )
            )
        return version

    async def _current(self, work: UnitOfWork) -> list[StoredMapping]:
        t = mapping.c
        newest = sa.select(t.name, sa.func.max(t.version).label("version")).group_by(t.name)
        n = newest.subquery()
        same = sa.and_(t.name == n.c.name, t.version == n.c.version)
        query = sa.select(mapping).join(n, same).order_by(t.name)
        rows = (await work.connection.execute(query)).mappings()
        return [StoredMapping(**row) for row in rows]


def _refuse_shared(field: str, shared: set[str], other: StoredMapping) -> None:
    if shared:
        raise Invalid(
            field,
            f"{min(shared)} belongs to the mapping {other.name}: put that one without it first",
        )
