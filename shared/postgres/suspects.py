"""Items of work that are not records: what was begun, what failed before, what is set aside.

An item is identified by its kind and its id (`task`, `sweep`, `look`, ...). A note of what was
begun is written in a transaction of its own before the work and deleted after it: a note of a
process that has ended names the items that it may have ended on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import reading, unit_of_work
from shared.postgres.statements import execute, row_count

REASON_CHARS_MAX: Final = 500
"""Characters of a stored reason: a name, a place and a sentence."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An item with failures counted against it."""

    kind: str
    item: str
    failures: int
    """Processes and attempts in a row that ended on it, or on a batch with it."""
    reason: str
    aside_at: datetime | None
    """Since when it is set aside; None: it is not."""


def item_tables(metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    """Builds the tables in a service's schema."""
    return (
        sa.Table(
            "items_begun",
            metadata,
            sa.Column("kind", sa.Text, primary_key=True),
            sa.Column("by", sa.Text, primary_key=True),
            sa.Column("items", sa.ARRAY(sa.Text), nullable=False),
        ),
        sa.Table(
            "suspect",
            metadata,
            sa.Column("kind", sa.Text, primary_key=True),
            sa.Column("item", sa.Text, primary_key=True),
            sa.Column("failures", sa.Integer, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
            sa.Column("aside_at", sa.DateTime(timezone=True)),
        ),
    )


class Suspects:
    """Statements on one schema's tables. Each raises Transient while PostgreSQL is unreachable."""

    def __init__(self, engine: AsyncEngine, schema: str) -> None:
        self._engine = engine
        self._schema = schema

    async def blame(self, by: str) -> None:
        """Count unfinished work of processes other than `by` against its items."""
        await self._run(
            "WITH died AS (DELETE FROM {s}.items_begun WHERE by <> $1 RETURNING kind, items) "
            "INSERT INTO {s}.suspect AS s (kind, item, failures, reason) "
            "SELECT kind, item, count(*), 'a process ended while it worked on this' "
            "FROM died, unnest(items) AS u(item) GROUP BY kind, item "
            "ON CONFLICT (kind, item) DO UPDATE SET failures = s.failures + excluded.failures, "
            "reason = CASE WHEN s.aside_at IS NULL THEN excluded.reason ELSE s.reason END",
            by,
        )

    async def all(self) -> list[Suspect]:
        """Return every item with failures counted against it."""
        query = (
            f"SELECT kind, item, failures, reason, aside_at FROM {self._schema}.suspect "  # noqa: S608
            "ORDER BY kind, item"
        )
        async with reading(self._engine) as driver:
            return [Suspect(**dict(row)) for row in await driver.fetch(query)]

    async def begin(self, kind: str, items: Sequence[str], by: str) -> None:
        """Note that work on these items is about to begin."""
        await self._run(
            "INSERT INTO {s}.items_begun (kind, by, items) VALUES ($1, $2, $3) "
            "ON CONFLICT (kind, by) DO UPDATE SET items = excluded.items",
            kind,
            by,
            list(items),
        )

    async def end(self, kind: str, by: str, cleared: Sequence[str] = ()) -> None:
        """Note that the work has ended without ending the process; clears the failures of
        `cleared`."""
        async with unit_of_work(self._engine) as work:
            await work.driver.execute(
                f"DELETE FROM {self._schema}.items_begun WHERE kind = $1 AND by = $2",  # noqa: S608
                kind,
                by,
            )
            if cleared:
                await work.driver.execute(
                    f"DELETE FROM {self._schema}.suspect "  # noqa: S608
                    "WHERE kind = $1 AND item = ANY($2::text[]) AND aside_at IS NULL",
                    kind,
                    list(cleared),
                )

    async def failed(self, suspect: Suspect) -> None:
        """Store an item's failures."""
        await self._run(
            "INSERT INTO {s}.suspect (kind, item, failures, reason, aside_at) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, item) DO UPDATE "
            "SET failures = excluded.failures, reason = excluded.reason, "
            "aside_at = excluded.aside_at",
            suspect.kind,
            suspect.item,
            suspect.failures,
            suspect.reason[:REASON_CHARS_MAX],
            suspect.aside_at,
        )

    async def release(self, kind: str | None = None, item: str | None = None) -> int:
        """Clear the failures of this item, items of this kind, or all; returns how many it was."""
        status = await execute(
            self._engine,
            f"DELETE FROM {self._schema}.suspect "  # noqa: S608
            "WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR item = $2)",
            kind,
            item,
        )
        return row_count(status)

    async def _run(self, statement: str, *arguments: object) -> None:
        await execute(self._engine, statement.format(s=self._schema), *arguments)
