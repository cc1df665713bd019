"""Stores the retention tasks: written in batches, read page by page.

Statements on `alerts.task`, within an open transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.playbook import Queue
from services.alerts.core.policy import Closed
from services.alerts.core.task import Status, Task
from services.alerts.store.merges import ids_of
from services.alerts.store.rows import equal
from services.alerts.store.tables import task as t
from shared.contracts.customer_message import SEND
from shared.postgres.engine import UnitOfWork, unit_of_work

_COLUMNS = ", ".join(Task.__struct_fields__)
_CHANGING = (
    "status", "version", "closed_at", "close_reason", "verdict", "note", "leaving_cause",
    "owner_id", "owner_name", "language", "queue", "progress", "snoozed_until", "respond_by",
    "escalations", "escalated_to", "waiting", "tell_at", "allocated_at", "changed_at", "causes",
    "reasons", "band", "probability", "horizon_days", "days_silent", "last_purchase_at",
    "expected_value", "value_at_risk", "worth", "due_at", "lapse_probability", "lapse_days",
    "currency", "grade", "grade_rank", "plan",
)  # fmt: skip
_SET = ", ".join(f"{name} = n.{name}" for name in _CHANGING)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """The filter of a list of tasks; None: all."""

    status: Status | None = None
    owner_id: str | None = None
    customer_id: str | None = None
    """Any id of a customer."""
    owners: frozenset[str] | None = None
    """Only tasks of these owners."""


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """The filter of a queue; `now` is business time."""

    queue: Queue
    owner_id: str | None
    now: datetime
    owners: frozenset[str] | None = None
    """Only tasks of these owners."""


@dataclass(frozen=True, slots=True)
class QueueKey:
    """The position of a task in a queue."""

    grade_rank: int
    worth: float
    id: str


async def add(work: UnitOfWork, tasks: Sequence[Task]) -> None:
    """Insert new tasks; a second open one of a customer and cause is a bug and fails."""
    if tasks:
        await work.driver.execute(
            f"INSERT INTO alerts.task ({_COLUMNS}) SELECT {_COLUMNS} "  # noqa: S608
            "FROM json_populate_recordset(NULL::alerts.task, $1::json)",
            msgspec.json.encode(tasks).decode(),
        )


async def close(work: UnitOfWork, closed: Sequence[Closed]) -> list[Task]:
    """Close open tasks of locked customers; return the closed tasks."""
    if not closed:
        return []
    rows = await work.driver.fetch(
        f"""
        UPDATE alerts.task t
           SET status = 'closed', version = t.version + 1, closed_at = c.at,
               close_reason = c.reason
          FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS c(id, at, reason)
         WHERE t.id = c.id AND t.status = 'open'
        RETURNING {", ".join("t." + name for name in Task.__struct_fields__)}
        """,  # noqa: S608
        [c.task.id for c in closed],
        [c.at for c in closed],
        [c.reason for c in closed],
    )
    return [msgspec.convert(dict(row), Task) for row in rows]


async def customer_of(work: UnitOfWork, task_id: str) -> str | None:
    """Return the customer of a task; None when there is no such task."""
    found = await work.driver.fetchval("SELECT customer_id FROM alerts.task WHERE id = $1", task_id)
    return None if found is None else str(found)


async def find(work: UnitOfWork, task_id: str, owners: frozenset[str] | None = None) -> Task | None:
    """Return a task by its id; None when there is no such task, or none of these owners'."""
    row = await work.driver.fetchrow(
        f"SELECT {_COLUMNS} FROM alerts.task WHERE id = $1 "  # noqa: S608
        "AND ($2::text[] IS NULL OR owner_id = ANY($2))",
        task_id,
        None if owners is None else list(owners),
    )
    return None if row is None else msgspec.convert(dict(row), Task)


async def find_all(work: UnitOfWork, task_ids: Sequence[str]) -> list[Task]:
    """Return tasks by their ids, sorted by customer and id."""
    rows = await work.driver.fetch(
        f"SELECT {_COLUMNS} FROM alerts.task WHERE id = ANY($1::text[]) "  # noqa: S608
        "ORDER BY customer_id, id",
        list(task_ids),
    )
    return [msgspec.convert(dict(row), Task) for row in rows]


async def open_of(work: UnitOfWork, customers: Collection[str]) -> list[Task]:
    """Return the open tasks of these customers, sorted by customer and id."""
    rows = await work.driver.fetch(
        f"SELECT {_COLUMNS} FROM alerts.task WHERE customer_id = ANY($1::text[]) "  # noqa: S608
        "AND status = 'open' ORDER BY customer_id, id",
        list(customers),
    )
    return [msgspec.convert(dict(row), Task) for row in rows]


async def delivered_at(work: UnitOfWork, task: Task) -> datetime | None:
    """Return when an endpoint first accepted the task, wall clock; None: not yet."""
    found: datetime | None = await work.driver.fetchval(
        "SELECT min(finished_at) FROM alerts.delivery "
        "WHERE task_id = $1 AND customer_id = $2 AND status = 'delivered' AND kind <> $3",
        task.id,
        task.customer_id,
        SEND,
    )
    return found


async def write(work: UnitOfWork, tasks: Sequence[Task]) -> None:
    """Store the changed fields of tasks; their customers must be locked."""
    if tasks:
        await work.driver.execute(
            f"UPDATE alerts.task t SET {_SET} "  # noqa: S608 (names of our own columns)
            "FROM json_populate_recordset(NULL::alerts.task, $1::json) n "
            "WHERE t.customer_id = n.customer_id AND t.id = n.id",
            msgspec.json.encode(tasks).decode(),
        )


async def queue(
    work: UnitOfWork, which: QueueFilter, after: QueueKey | None, most: int
) -> list[Task]:
    """Return at most `most` open tasks in the order of work.

    They are sorted by grade if the policy sets this order, then by expected saved value. Tasks
    that are snoozed, or wait for capacity or the end of quiet hours, are left out.
    """
    query = sa.select(*(t.c[name] for name in Task.__struct_fields__)).where(
        t.c.status == "open",
        t.c.queue == which.queue,
        t.c.waiting.is_(None),
        sa.or_(t.c.snoozed_until.is_(None), t.c.snoozed_until <= which.now),
    )
    if which.owner_id is not None:
        query = query.where(t.c.owner_id == which.owner_id)
    if which.owners is not None:
        query = query.where(t.c.owner_id.in_(which.owners))
    if after is not None:
        query = query.where(
            sa.tuple_(t.c.grade_rank, -t.c.worth, t.c.id)
            > sa.tuple_(after.grade_rank, -after.worth, after.id)
        )
        # The index has the plain columns; this bound lets a later page begin at the grade.
        query = query.where(t.c.grade_rank >= after.grade_rank)
    query = query.order_by(t.c.grade_rank, t.c.worth.desc(), t.c.id).limit(most)
    return _tasks(await work.connection.execute(query))


async def page(
    work: UnitOfWork,
    chosen: TaskFilter,
    after: tuple[datetime, str] | None,
    most: int,
) -> list[Task]:
    """Return at most `most` tasks, newest first, those after `after` = (opened_at, id)."""
    query = sa.select(*(t.c[name] for name in Task.__struct_fields__))
    query = query.where(
        *equal(
            (t.c.status, chosen.status),
            (t.c.owner_id, chosen.owner_id),
        )
    )
    if chosen.customer_id is not None:
        query = query.where(t.c.customer_id.in_(ids_of(chosen.customer_id)))
    if chosen.owners is not None:
        query = query.where(t.c.owner_id.in_(chosen.owners))
    if after is not None:
        query = query.where(sa.tuple_(t.c.opened_at, t.c.id) < sa.tuple_(*after))
    query = query.order_by(t.c.opened_at.desc(), t.c.id.desc()).limit(most)
    return _tasks(await work.connection.execute(query))


def _tasks(rows: Iterable[Sequence[Any]]) -> list[Task]:
    names = Task.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), Task) for row in rows]


async def forget_tasks(engine: AsyncEngine, before: datetime, most: int) -> int:
    """Delete at most `most` closed tasks that were opened before then, with their history.

    Returns how many were deleted.
    """
    async with unit_of_work(engine) as work:
        rows = await work.driver.fetch(
            "DELETE FROM alerts.task t USING (SELECT customer_id, id FROM alerts.task "
            "WHERE opened_at < $1 AND status = 'closed' ORDER BY opened_at, id LIMIT $2) o "
            "WHERE t.customer_id = o.customer_id AND t.id = o.id RETURNING t.customer_id, t.id",
            before,
            most,
        )
        for table in ("task_event", "remote_task") if rows else ():
            await work.driver.execute(
                f"DELETE FROM alerts.{table} d USING unnest($1::text[], $2::text[]) "  # noqa: S608
                "AS u(customer_id, id) WHERE d.customer_id = u.customer_id AND d.task_id = u.id",
                [row["customer_id"] for row in rows],
                [row["id"] for row in rows],
            )
    return len(rows)
