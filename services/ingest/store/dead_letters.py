"""SQL statements on the index of dead letters."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.ports import Search, StoredDeadLetter
from services.ingest.store.tables import dead_letter
from shared.contracts.dead_letter import DeadLetter, Origin
from shared.postgres.engine import UnitOfWork, unit_of_work


class DeadLetters:
    """Implements `ports.DeadLetterIndex`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(
        self, work: UnitOfWork, letters: Sequence[DeadLetter], recorded_at: datetime
    ) -> None:
        """Store letters with a new origin, in order of origin so that two workers cannot
        deadlock."""
        ordered = sorted(
            letters, key=lambda x: (x.origin.topic, x.origin.partition, x.origin.offset)
        )
        statement = insert(dead_letter).on_conflict_do_nothing(
            index_elements=["origin_topic", "origin_partition", "origin_offset"]
        )
        await work.connection.execute(statement, [_row(x, recorded_at) for x in ordered])

    async def get(self, letter_id: int) -> StoredDeadLetter | None:
        """Return the dead letter with this number."""
        async with unit_of_work(self._engine) as work:
            query = sa.select(dead_letter).where(dead_letter.c.id == letter_id)
            row = (await work.connection.execute(query)).mappings().one_or_none()
        return None if row is None else _stored(row)

    async def search(self, search: Search, limit: int, after: int = 0) -> list[StoredDeadLetter]:
        """Return matches in the order of their numbers, beginning after number `after`."""
        t = dead_letter.c
        query = sa.select(dead_letter).where(t.id > after).order_by(t.id).limit(limit)
        if search.stage is not None:
            query = query.where(t.stage == search.stage)
        if search.field is not None:
            query = query.where(t.field == search.field)
        if search.waiting:
            query = query.where(t.replayed_at.is_(None))
        if search.id_max is not None:
            query = query.where(t.id <= search.id_max)
        async with unit_of_work(self._engine) as work:
            rows = (await work.connection.execute(query)).mappings().all()
        return [_stored(row) for row in rows]

    async def newest(self) -> int:
        """Return the highest number; 0 when there is none."""
        async with unit_of_work(self._engine) as work:
            query = sa.select(sa.func.coalesce(sa.func.max(dead_letter.c.id), 0))
            return int((await work.connection.execute(query)).scalar_one())

    async def mark_replayed(self, ids: Sequence[int], at: datetime) -> None:
        """Note that these were sent back."""
        async with unit_of_work(self._engine) as work:
            change = dead_letter.update().where(dead_letter.c.id.in_(ids))
            await work.connection.execute(change.values(replayed_at=at))


def _row(letter: DeadLetter, recorded_at: datetime) -> dict[str, Any]:
    return {
        "origin_topic": letter.origin.topic,
        "origin_partition": letter.origin.partition,
        "origin_offset": letter.origin.offset,
        "key": letter.key,
        "value": letter.value,
        "header_names": [name.encode() for name, _ in letter.original_headers],
        "header_values": [value for _, value in letter.original_headers],
        "stage": letter.stage,
        "field": letter.field,
        "reason": letter.reason,
        "recorded_at": recorded_at,
    }


def _stored(row: sa.RowMapping) -> StoredDeadLetter:
    names = (name.decode() for name in row["header_names"])
    return StoredDeadLetter(
        id=row["id"],
        letter=DeadLetter(
            key=row["key"],
            value=row["value"],
            original_headers=tuple(zip(names, row["header_values"], strict=True)),
            origin=Origin(row["origin_topic"], row["origin_partition"], row["origin_offset"]),
            stage=row["stage"],
            field=row["field"],
            reason=row["reason"],
        ),
        recorded_at=row["recorded_at"],
        replayed_at=row["replayed_at"],
    )
