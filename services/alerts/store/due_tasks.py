"""Finds tasks with a timer that is due, within an open transaction.

It locks nothing: the caller must read the tasks again once their customers are locked.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.allocation import Load
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import fetch


async def quiet_over(work: UnitOfWork, now: datetime, most: int) -> list[str]:
    """Return the tasks that waited for the end of quiet hours, now over."""
    return await _ids(
        work,
        "SELECT id FROM alerts.task WHERE status = 'open' AND waiting = 'quiet' "
        "AND tell_at <= $1 ORDER BY tell_at LIMIT $2",
        now,
        most,
    )


async def unanswered(work: UnitOfWork, now: datetime, most: int) -> list[str]:
    """Return unanswered tasks with a response target in the past."""
    return await _ids(
        work,
        "SELECT id FROM alerts.task WHERE status = 'open' AND respond_by <= $1 "
        "AND progress = 'new' AND waiting IS NULL AND escalations < 2 "
        "ORDER BY respond_by LIMIT $2",
        now,
        most,
    )


async def expired(work: UnitOfWork, now: datetime, most: int) -> list[str]:
    """Return open tasks that have expired."""
    return await _ids(
        work,
        "SELECT id FROM alerts.task WHERE status = 'open' AND expires_at <= $1 "
        "ORDER BY expires_at LIMIT $2",
        now,
        most,
    )


async def loads(work: UnitOfWork, since: dict[str, datetime]) -> dict[str, Load]:
    """Return, for each owner, the tasks allocated since a time and the tasks that wait."""
    rows = await work.driver.fetch(
        """
        SELECT o.id, o.since,
               (SELECT count(*) FROM alerts.task t WHERE t.owner_id = o.id
                 AND t.queue = 'owner' AND t.allocated_at >= o.since) AS taken,
               (SELECT count(*) FROM alerts.task t WHERE t.owner_id = o.id
                 AND t.queue = 'owner' AND t.status = 'open' AND t.waiting = 'capacity'
               ) AS waiting
          FROM unnest($1::text[], $2::timestamptz[]) AS o(id, since)
        """,
        list(since),
        list(since.values()),
    )
    return {row["id"]: Load(int(row["taken"]), int(row["waiting"])) for row in rows}


async def waiting_owners(work: UnitOfWork, most: int) -> list[str]:
    """Return owners with tasks that wait for capacity."""
    rows = await work.driver.fetch(
        "SELECT DISTINCT owner_id FROM alerts.task WHERE status = 'open' "
        "AND waiting = 'capacity' AND owner_id IS NOT NULL LIMIT $1",
        most,
    )
    return [row["owner_id"] for row in rows]


async def most_worthwhile(work: UnitOfWork, owner_id: str, most: int, skip: int = 0) -> list[str]:
    """Return tasks that wait for an owner's capacity, in the queue's order, after `skip`."""
    return await _ids(
        work,
        "SELECT id FROM alerts.task WHERE status = 'open' AND queue = 'owner' "
        "AND owner_id = $1 AND waiting = 'capacity' "
        "ORDER BY grade_rank, worth DESC, id LIMIT $2 OFFSET $3",
        owner_id,
        most,
        skip,
    )


async def _ids(work: UnitOfWork, query: str, *arguments: object) -> list[str]:
    return [row["id"] for row in await work.driver.fetch(query, *arguments)]


class OpenTasks:
    """Counts the open tasks."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def __call__(self) -> dict[tuple[str, str], int]:
        """Return the number of open tasks by queue and cause; raises Transient."""
        rows = await fetch(
            self._engine,
            "SELECT queue, cause, count(*) AS n FROM alerts.task WHERE status = 'open' "
            "GROUP BY queue, cause",
        )
        return {(row["queue"], row["cause"]): row["n"] for row in rows}
