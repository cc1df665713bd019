"""Notes of work on a partition that was begun and not finished.

A note is written in a transaction of its own before the work and deleted within the work's own
(`Ledger.advance`): a note found when a partition is claimed shows which records a process ended on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.statements import fetch

TopicPartition = tuple[str, int]


_NO_PROCESS: Final = "alone = false, times = 0, by = ''"
"""State of a row without a working process: it only marks records to be processed singly."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Work on the records of a partition from offset `begin` to before `end`."""

    topic: str
    partition: int
    begin: int
    end: int
    alone: bool
    """It was one record, and nothing else was processed beside it."""
    careful_to: int
    """Records before this offset are processed one by one; 0: none are."""
    by: str
    """Identifies the process."""
    times: int = 1
    """Processes in a row that began exactly this."""

    @property
    def tp(self) -> TopicPartition:
        """(topic, partition)."""
        return self.topic, self.partition


def unfinished_table(metadata: sa.MetaData) -> sa.Table:
    """Builds the table in a service's schema."""
    return sa.Table(
        "unfinished",
        metadata,
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("begin", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("alone", sa.Boolean, nullable=False),
        sa.Column("careful_to", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
    )


class Unfinished:
    """Statements on one schema's `unfinished` table."""

    def __init__(self, engine: AsyncEngine, schema: str) -> None:
        self._engine = engine
        self._schema = schema
        self._noted: set[TopicPartition] = set()
        """Partitions that may have a row."""

    async def read(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, Begun]:
        """Return unfinished work of these partitions. Transient: PostgreSQL is unreachable."""
        partitions = set(tps)
        rows = await fetch(self._engine, f"SELECT * FROM {self._schema}.unfinished")  # noqa: S608
        found = {(row["topic"], row["partition"]): Begun(**dict(row)) for row in rows}
        left = {tp: begun for tp, begun in found.items() if tp in partitions}
        self._noted |= left.keys()
        return left

    async def begin(self, begun: Sequence[Begun]) -> None:
        """Note work that is about to begin; the same work by another process counts once more."""
        async with unit_of_work(self._engine) as work:
            await work.driver.executemany(
                f"""
                INSERT INTO {self._schema}.unfinished AS u
                       (topic, partition, "begin", "end", alone, careful_to, by, times)
                VALUES ($1, $2, $3, $4, $5, $6, $7, 1)
                ON CONFLICT (topic, partition) DO UPDATE
                   SET "begin" = excluded.begin, "end" = excluded.end, alone = excluded.alone,
                       careful_to = excluded.careful_to, by = excluded.by,
                       times = CASE WHEN u.begin = excluded.begin AND u.alone = excluded.alone
                                    THEN u.times + (u.by <> excluded.by)::int ELSE 1 END
                """,  # noqa: S608 (the schema is a constant of the service)
                [(*b.tp, b.begin, b.end, b.alone, b.careful_to, b.by) for b in begun],
            )
        self._noted |= {b.tp for b in begun}

    async def clear(self, work: UnitOfWork, moved: Mapping[TopicPartition, int]) -> None:
        """Delete notes before these offsets, in the transaction that moves the partitions there.

        Records behind them that are to be processed singly stay noted. Without notes no statement
        runs.
        """
        found = sorted((tp, at) for tp, at in moved.items() if tp in self._noted)
        if not found:
            return
        rows = ([tp[0] for tp, _ in found], [tp[1] for tp, _ in found], [at for _, at in found])
        moves = "unnest($1::text[], $2::int[], $3::bigint[]) AS m(topic, partition, at)"
        same = "u.topic = m.topic AND u.partition = m.partition"
        await work.driver.execute(
            f"DELETE FROM {self._schema}.unfinished u USING {moves} "  # noqa: S608
            f"WHERE {same} AND u.careful_to <= m.at",
            *rows,
        )
        await work.driver.execute(
            f"UPDATE {self._schema}.unfinished u "  # noqa: S608
            f'SET "begin" = m.at, "end" = u.careful_to, {_NO_PROCESS} FROM {moves} '
            f"WHERE {same} AND u.careful_to > m.at",
            *rows,
        )

    async def forget(self, work: UnitOfWork, tp: TopicPartition) -> None:
        """Delete the note of a partition for which an operator has set the offset."""
        await work.driver.execute(
            f"DELETE FROM {self._schema}.unfinished WHERE topic = $1 AND partition = $2",  # noqa: S608
            *tp,
        )

    async def alive(self, by: str) -> None:
        """Delete this process's notes: what it noted did not end it. Transient: PostgreSQL is
        unreachable."""
        if self._noted:
            async with unit_of_work(self._engine) as work:
                await work.driver.execute(
                    f'DELETE FROM {self._schema}.unfinished WHERE by = $1 AND careful_to <= "end"',  # noqa: S608
                    by,
                )
                await work.driver.execute(
                    f"UPDATE {self._schema}.unfinished "  # noqa: S608
                    f'SET "end" = careful_to, {_NO_PROCESS} WHERE by = $1',
                    by,
                )

    def done(self, tps: Iterable[TopicPartition]) -> None:
        """The transaction that cleared these is committed."""
        self._noted.difference_update(tps)
