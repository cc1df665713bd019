"""SQL statements on what was observed of the sources' clocks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from services.ingest.core.source_clocks import SourceReport, clock_fault
from services.ingest.store.tables import source_clock
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import Statements, select

DAYS_KEPT: Final = 30
"""Days for which counts are kept, at most some hundred rows each."""


class SourceClockDays(Statements):
    """Implements `ports.ClockStore`, and reads for the operator's command."""

    async def add(self, reports: Sequence[SourceReport], at: datetime) -> None:
        """Add to the counts of the day (UTC) of `at`, and delete those of long ago."""
        rows = [
            {
                "day": at.date(),
                "source": one.source,
                "accepted": one.accepted,
                "future": one.future,
                "newest_at": None
                if one.newest_s is None
                else datetime.fromtimestamp(one.newest_s, UTC),
                "median_s": one.median_s,
                "spread_s": one.spread_s,
                "updated_at": at,
            }
            # Two processes that update the same sources in the same order cannot deadlock.
            for one in sorted(reports, key=lambda one: one.source)
        ]
        t = source_clock.c
        new = insert(source_clock)
        given = new.excluded
        statement = new.on_conflict_do_update(
            index_elements=["day", "source"],
            set_={
                "accepted": t.accepted + given.accepted,
                "future": t.future + given.future,
                "newest_at": sa.func.greatest(t.newest_at, given.newest_at),
                "median_s": sa.func.coalesce(given.median_s, t.median_s),
                "spread_s": sa.func.coalesce(given.spread_s, t.spread_s),
                "updated_at": given.updated_at,
            },
        )
        oldest = at.date() - timedelta(days=DAYS_KEPT)
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(statement, rows)
            await work.connection.execute(source_clock.delete().where(t.day < oldest))

    async def since(self, day: datetime, limit: int) -> list[SourceReport]:
        """Return the sources with the most events since a day (UTC), with their newest median."""
        t = source_clock.c
        newest_first = sa.desc(t.day)
        query = (
            sa.select(
                t.source,
                sa.func.sum(t.accepted).label("accepted"),
                sa.func.sum(t.future).label("future"),
                sa.func.max(t.newest_at).label("newest_at"),
                _newest(t.median_s, newest_first).label("median_s"),
                _newest(t.spread_s, newest_first).label("spread_s"),
            )
            .where(t.day >= day.date())
            .group_by(t.source)
            .order_by(sa.func.sum(t.accepted + t.future).desc(), t.source)
            .limit(limit)
        )
        return [_report(row) for row in await select(self._engine, query)]


def _report(row: dict[str, Any]) -> SourceReport:
    accepted, future = int(row["accepted"]), int(row["future"])
    source, median, spread = row["source"], row["median_s"], row["spread_s"]
    return SourceReport(
        source=source,
        accepted=accepted,
        future=future,
        newest_s=row["newest_at"].timestamp() if row["newest_at"] else None,
        median_s=median,
        spread_s=spread,
        fault=clock_fault(source, accepted, future, median, spread),
    )


def _newest(
    column: sa.ColumnElement[float], newest_first: sa.UnaryExpression[object]
) -> sa.ColumnElement[float]:
    """Returns the value of the newest day that has one."""
    values = sa.func.array_agg(sa.dialects.postgresql.aggregate_order_by(column, newest_first))
    return values.filter(column.is_not(None))[1]
