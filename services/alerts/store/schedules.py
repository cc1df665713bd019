"""Queries for the customers of a schedule, for segment entries and for the tasks of both.

Statements on `alerts.customer`, `task` and `segment_entry`, within an open transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from services.alerts.core.task import Task
from services.alerts.ports import (
    ScheduledCustomer,
)
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.postgres.engine import UnitOfWork

_SELECT = """
SELECT c.customer_id, c.profile FROM alerts.customer c
 WHERE c.customer_id > $1 AND c.part_of IS NULL
   AND (cardinality($2::text[]) = 0 OR c.grade = ANY($2::text[]))
   AND coalesce((c.profile ->> 'do_not_contact')::boolean, false) = false
   AND c.customer_id NOT IN (SELECT customer_id FROM alerts.not_profiled)
"""


async def born_on(
    work: UnitOfWork, days: Sequence[str], grades: Sequence[str], after: str, most: int
) -> list[ScheduledCustomer]:
    """Return customers of these grades (none: all) with a birthday on `days`, as `MM-DD`."""
    rows = await work.driver.fetch(
        _SELECT + "AND c.profile ? 'birthday' AND substr(c.profile ->> 'birthday', 6) = ANY("
        "$4::text[]) ORDER BY c.customer_id LIMIT $3",
        after,
        list(grades),
        most,
        list(days),
    )
    return _customers([dict(row) for row in rows])


async def all_customers(
    work: UnitOfWork, grades: Sequence[str], after: str, most: int
) -> list[ScheduledCustomer]:
    """Return customers of these grades (none: all)."""
    rows = await work.driver.fetch(
        _SELECT + "ORDER BY c.customer_id LIMIT $3", after, list(grades), most
    )
    return _customers([dict(row) for row in rows])


async def unvisited(
    work: UnitOfWork,
    since: datetime,
    cause: str,
    grades: Sequence[str],
    after: str,
    most: int,
) -> list[ScheduledCustomer]:
    """Return customers who bought, but neither bought nor had such a task after `since`."""
    rows = await work.driver.fetch(
        _SELECT  # noqa: S608 (a constant of ours)
        + "AND c.purchased_at <= $4 AND NOT EXISTS (SELECT 1 FROM alerts.task t "
        "WHERE t.customer_id = c.customer_id AND t.cause = $5 AND t.opened_at > $4) "
        "ORDER BY c.customer_id LIMIT $3",
        after,
        list(grades),
        most,
        since,
        cause,
    )
    return _customers([dict(row) for row in rows])


async def first_entries(
    work: UnitOfWork, entries: Sequence[CustomerChanged]
) -> set[tuple[str, int]]:
    """Store entries; return (customer, sequence) of those that were not stored before (R18)."""
    rows = await work.driver.fetch(
        "INSERT INTO alerts.segment_entry (customer_id, segment, entry, at) "
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) "
        "ON CONFLICT DO NOTHING RETURNING customer_id, entry",
        [e.customer_id for e in entries],
        [e.segment for e in entries],
        [str(e.sequence) for e in entries],
        [e.at for e in entries],
    )
    return {(row["customer_id"], int(row["entry"])) for row in rows}


async def new_only(work: UnitOfWork, tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks that do not exist yet and have no open task of the same cause.

    Their customers must be locked.
    """
    rows = await work.driver.fetch(
        "SELECT u.id FROM unnest($1::text[], $2::text[], $3::text[]) AS u(customer_id, id, "
        "cause) WHERE EXISTS (SELECT 1 FROM alerts.task t WHERE t.customer_id = u.customer_id "
        "AND (t.id = u.id OR (t.cause = u.cause AND t.status = 'open')))",
        [t.customer_id for t in tasks],
        [t.id for t in tasks],
        [t.cause for t in tasks],
    )
    known = {row["id"] for row in rows}
    return [t for t in tasks if t.id not in known]


async def stored(work: UnitOfWork, ids: Mapping[str, str]) -> set[str]:
    """Return which of these tasks exist, open or closed; `ids` maps a task to its customer."""
    rows = await work.driver.fetch(
        "SELECT t.id FROM unnest($1::text[], $2::text[]) AS u(customer_id, id) "
        "JOIN alerts.task t ON t.customer_id = u.customer_id AND t.id = u.id",
        list(ids.values()),
        list(ids),
    )
    return {row["id"] for row in rows}


async def with_open_task(
    work: UnitOfWork, causes: Sequence[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return which of these pairs of customer and cause have an open task."""
    rows = await work.driver.fetch(
        "SELECT DISTINCT t.customer_id, t.cause "
        "FROM unnest($1::text[], $2::text[]) AS u(customer_id, cause) JOIN alerts.task t "
        "ON t.customer_id = u.customer_id AND t.cause = u.cause AND t.status = 'open'",
        [customer for customer, _ in causes],
        [cause for _, cause in causes],
    )
    return {(row["customer_id"], row["cause"]) for row in rows}


async def entries(work: UnitOfWork, left: Sequence[CustomerChanged]) -> set[tuple[str, str, int]]:
    """Return (customer, segment, sequence) of the stored entries into segments left."""
    rows = await work.driver.fetch(
        "SELECT DISTINCT e.customer_id, e.segment, e.entry "
        "FROM unnest($1::text[], $2::text[]) AS u(customer_id, segment) "
        "JOIN alerts.segment_entry e "
        "ON e.customer_id = u.customer_id AND e.segment = u.segment",
        [each.customer_id for each in left],
        [each.segment for each in left],
    )
    return {(row["customer_id"], row["segment"], int(row["entry"])) for row in rows}


def _customers(rows: Sequence[dict[str, object]]) -> list[ScheduledCustomer]:
    return [
        ScheduledCustomer(
            customer_id=str(row["customer_id"]),
            profile=msgspec.convert(row["profile"] or {}, Profile),
        )
        for row in rows
    ]
