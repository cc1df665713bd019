"""SQL statements on the index of dead letters."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.ingest.core.dead_letters import ReadLetter
from services.ingest.ports import Group, ListedDeadLetter, Search, Settlement, StoredDeadLetter
from services.ingest.store.tables import dead_letter
from shared.contracts.dead_letter import DeadLetter, Origin
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import Statements, change, fetch_value, select

GROUPED_MAX: Final = 100_000
"""Newest matches that are grouped: half a second of PostgreSQL."""

CONTENT: Final = frozenset({"key", "value", "header_names", "header_values"})
_FACTS = [column for column in dead_letter.c if column.name not in CONTENT]
_AS_STORED: Final = [each.name for each in fields(ListedDeadLetter) if each.name in dead_letter.c]

_QUOTED: Final = "'[^']*'|\"[^\"]*\"|[0-9]+([.:,/-][0-9]+)*"
"""Parts of a reason that differ from one record to the next: quoted values, numbers, times."""


class DeadLetters(Statements):
    """Implements `ports.DeadLetterIndex`."""

    def transaction(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Begin a unit of work."""
        return unit_of_work(self._engine)

    async def add(
        self, work: UnitOfWork, letters: Sequence[ReadLetter], recorded_at: datetime
    ) -> None:
        """Store letters with a new origin, in order of origin so that two workers cannot
        deadlock."""
        ordered = sorted(letters, key=lambda x: _place(x.letter.origin))
        replayed = await _replayed(work, [x.replay_of for x in letters if x.replay_of is not None])
        statement = insert(dead_letter).on_conflict_do_nothing(
            index_elements=["origin_topic", "origin_partition", "origin_offset"]
        )
        rows = [_row(x, recorded_at, replayed) for x in ordered]
        await work.connection.execute(statement, rows)

    async def get(self, letter_id: int) -> StoredDeadLetter | None:
        """Return the dead letter with this number."""
        query = sa.select(dead_letter).where(dead_letter.c.id == letter_id)
        return next(map(_stored, await select(self._engine, query)), None)

    async def search(self, search: Search, limit: int, after: int = 0) -> list[ListedDeadLetter]:
        """Return matches in the order of their numbers, beginning after number `after`."""
        t = dead_letter.c
        query = sa.select(*_FACTS).where(t.id > after, *_matching(search))
        rows = await select(self._engine, query.order_by(t.id).limit(limit))
        return [_listed(row) for row in rows]

    async def groups(self, search: Search, limit: int) -> list[Group]:
        """Return the most frequent faults among the newest `GROUPED_MAX` matches."""
        t = dead_letter.c
        chosen = sa.select(t.id, t.stage, t.field, t.reason, t.recorded_at, t.replay_of)
        newest = chosen.where(*_matching(search)).order_by(t.id.desc()).limit(GROUPED_MAX)
        n = newest.subquery().c
        kind = sa.func.regexp_replace(n.reason, _QUOTED, "…", "g")
        count, example = sa.func.count().label("count"), sa.func.max(n.id).label("example")
        grouped = (
            sa.select(
                count,
                sa.func.count(n.replay_of).label("again"),
                sa.func.min(n.recorded_at).label("first_at"),
                sa.func.max(n.recorded_at).label("last_at"),
                example,
            )
            .group_by(n.stage, n.field, kind)
            .order_by(count.desc(), example.desc())
            .limit(limit)
            .subquery()
        )
        g = grouped.c
        query = sa.select(grouped, t.stage, t.field, t.reason).join_from(
            grouped, dead_letter, t.id == g.example
        )
        query = query.order_by(g["count"].desc(), g.example.desc())
        return [Group(**row) for row in await select(self._engine, query)]

    async def newest(self) -> int:
        """Return the highest number; 0 when there is none."""
        newest = await fetch_value(self._engine, "SELECT max(id) FROM ingest.dead_letter")
        return newest or 0

    async def locked(
        self, work: UnitOfWork, search: Search, ids: Sequence[int] | None, limit: int, after: int
    ) -> list[StoredDeadLetter]:
        """Return matches like `search`; another operator's command waits for the end of `work`,
        and then finds them settled."""
        t = dead_letter.c
        query = sa.select(dead_letter).where(t.id > after, *_matching(search))
        if ids is not None:
            query = query.where(t.id.in_(ids))
        query = query.order_by(t.id).limit(limit).with_for_update()
        rows = await work.connection.execute(query)
        return [_stored(row) for row in rows.mappings()]

    async def settle(self, work: UnitOfWork, ids: Sequence[int], done: Settlement) -> None:
        """Note what was done with these."""
        settled = dead_letter.update().where(dead_letter.c.id.in_(ids))
        await work.connection.execute(
            settled.values(
                state=done.state, settled_at=done.at, settled_by=done.by, settled_why=done.why
            )
        )

    async def refused_again(self, ids: Sequence[int]) -> dict[int, int]:
        """Return, by number, the newest dead letter that a replay of it was refused as."""
        t = dead_letter.c
        query = sa.select(t.replay_of, sa.func.max(t.id).label("id")).where(t.replay_of.in_(ids))
        rows = await select(self._engine, query.group_by(t.replay_of))
        return {row["replay_of"]: row["id"] for row in rows}

    async def drop_contents(self, settled_before: datetime, at: datetime, limit: int) -> int:
        """Delete the content of up to `limit` settled dead letters; returns of how many."""
        t = dead_letter.c
        old = sa.select(t.id).where(t.settled_at < settled_before, t.dropped_at.is_(None))
        old = old.order_by(t.settled_at).limit(limit).with_for_update(skip_locked=True)
        content: dict[str, Any] = {
            "key": None,
            "value": None,
            "header_names": [],
            "header_values": [],
        }
        dropped = dead_letter.update().where(t.id.in_(old)).values(**content, dropped_at=at)
        return await change(self._engine, dropped)


def _matching(search: Search) -> list[sa.ColumnElement[bool]]:
    t = dead_letter.c
    found: list[sa.ColumnElement[bool]] = []
    for column, value in ((t.stage, search.stage), (t.field, search.field)):
        if value is not None:
            found.append(column == value)
    if search.state is not None:
        # Written out, so that the planner recognises the index of those that wait.
        found.append(t.state == sa.literal_column(f"'{search.state}'"))
    if search.reason is not None:
        found.append(t.reason.icontains(search.reason, autoescape=True))
    if search.source is not None:
        found.append(sa.or_(t.origin_topic == search.source, t.producer == search.source))
    if search.since is not None:
        found.append(t.recorded_at >= search.since)
    if search.until is not None:
        found.append(t.recorded_at < search.until)
    if search.id_max is not None:
        found.append(t.id <= search.id_max)
    return found


async def _replayed(work: UnitOfWork, ids: Sequence[int]) -> set[int]:
    """Returns those of `ids` that were replayed: a sender could have made up the header."""
    if not ids:
        return set()
    t = dead_letter.c
    query = sa.select(t.id).where(t.id.in_(ids), t.state == "replayed")
    return set((await work.connection.execute(query)).scalars())


def _place(origin: Origin) -> tuple[str, int, int]:
    return (origin.topic, origin.partition, origin.offset)


def _row(read: ReadLetter, recorded_at: datetime, replayed: set[int]) -> dict[str, Any]:
    letter = read.letter
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
        "producer": read.producer,
        "arrived_ms": letter.arrived_ms,
        "replay_of": read.replay_of if read.replay_of in replayed else None,
    }


def _listed(row: Mapping[Any, Any]) -> ListedDeadLetter:
    origin = Origin(row["origin_topic"], row["origin_partition"], row["origin_offset"])
    return ListedDeadLetter(origin=origin, **{name: row[name] for name in _AS_STORED})


def _stored(row: Mapping[Any, Any]) -> StoredDeadLetter:
    facts = _listed(row)
    names = (name.decode() for name in row["header_names"])
    letter = DeadLetter(
        key=row["key"],
        value=row["value"],
        original_headers=tuple(zip(names, row["header_values"], strict=True)),
        origin=facts.origin,
        stage=facts.stage,
        field=facts.field,
        reason=facts.reason,
        arrived_ms=row["arrived_ms"],
    )
    return StoredDeadLetter(facts, letter)
