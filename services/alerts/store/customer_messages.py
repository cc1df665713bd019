"""Stores the messages to customers: those that wait, and what became of each.

Statements on `alerts.customer_message`, within an open transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from services.alerts.core.customer_message import Status, Suppression, message_id
from services.alerts.core.task import Task
from services.alerts.delivery.ports import NewDelivery
from services.alerts.store.merges import IDS_OF, ids_of
from services.alerts.store.rows import equal
from services.alerts.store.tables import customer_message as m
from shared.contracts.customer_message import SEND, Result
from shared.postgres.engine import UnitOfWork
from shared.postgres.statements import rows_of


class StoredMessage(msgspec.Struct, kw_only=True, frozen=True):
    """A message to a customer. Times are business time, UTC."""

    customer_id: str
    id: str
    task_id: str
    playbook: str
    caused_at: datetime
    status: Status
    due_at: datetime
    """When it is decided on next; only while it waits."""
    channel: str | None
    """None, as `endpoint_id`: not handed to delivery yet."""
    endpoint_id: str | None
    handed_at: datetime | None
    """When it was handed to delivery last; it counts for the frequency cap from then on."""
    reason: Suppression | None
    outcome: Result | None
    outcome_at: datetime | None
    outcome_reason: str | None
    """In the provider's words, which may hold an address."""


_FIELDS = StoredMessage.__struct_fields__
_COLUMNS = ", ".join(_FIELDS)


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Selects the messages to list; None: all."""

    status: Status | None = None
    customer_id: str | None = None
    """Any id of a customer."""
    task_id: str | None = None


async def add(work: UnitOfWork, tasks: Sequence[Task]) -> None:
    """Store the waiting message of each new task that sends one; one for each task."""
    sending = [task for task in tasks if task.plan.sends and task.status == "open"]
    if sending:
        await work.driver.execute(
            """
            INSERT INTO alerts.customer_message (customer_id, id, task_id, playbook, caused_at,
                                                 due_at)
            SELECT c, i, t, p, a, a FROM unnest($1::text[], $2::text[], $3::text[], $4::text[],
                                                $5::timestamptz[]) AS u(c, i, t, p, a)
            ON CONFLICT (customer_id, id) DO NOTHING
            """,
            [task.customer_id for task in sending],
            [message_id(task.id) for task in sending],
            [task.id for task in sending],
            [task.plan.playbook for task in sending],
            [task.opened_at for task in sending],
        )


async def due(work: UnitOfWork, now: datetime, most: int) -> dict[str, str]:
    """Return the customers of at most `most` waiting messages to decide on, by message."""
    rows = await work.driver.fetch(
        "SELECT id, customer_id FROM alerts.customer_message "
        "WHERE status = 'waiting' AND due_at <= $1 ORDER BY due_at, seq LIMIT $2",
        now,
        most,
    )
    return {row["id"]: row["customer_id"] for row in rows}


async def find(work: UnitOfWork, ids: Sequence[str]) -> list[StoredMessage]:
    """Return messages by their ids, in the order in which they were caused."""
    rows = await work.driver.fetch(
        f"SELECT {_COLUMNS} FROM alerts.customer_message "  # noqa: S608 (our own names)
        "WHERE id = ANY($1::text[]) ORDER BY caused_at, seq",
        list(ids),
    )
    return [msgspec.convert(dict(row), StoredMessage) for row in rows]


async def handed(
    work: UnitOfWork, customers: Sequence[str]
) -> dict[tuple[str, str], dict[str, datetime]]:
    """Return when messages were handed over, by (customer, channel) and message.

    Those to any id of a customer are the customer's."""
    rows = await work.driver.fetch(
        "SELECT u.customer_id, m.channel, m.id, m.handed_at "  # noqa: S608 (our own names)
        f"FROM {IDS_OF} u JOIN alerts.customer_message m ON m.customer_id = u.came_with "
        "WHERE m.handed_at IS NOT NULL",
        list(customers),
    )
    found: dict[tuple[str, str], dict[str, datetime]] = {}
    for row in rows:
        by_id = found.setdefault((row["customer_id"], row["channel"]), {})
        by_id[row["id"]] = row["handed_at"]
    return found


async def wait(work: UnitOfWork, message: str, until: datetime) -> None:
    """Let a message wait until it is decided on again; one that was handed over returns."""
    await work.driver.execute(
        "UPDATE alerts.customer_message SET status = 'waiting', due_at = $2 "
        "WHERE id = $1 AND status <> 'suppressed'",
        message,
        until,
    )


async def suppress(work: UnitOfWork, message: str, reason: Suppression) -> None:
    """End a message for this reason: it is not sent, or not sent again."""
    await work.driver.execute(
        "UPDATE alerts.customer_message SET status = 'suppressed', reason = $2 "
        "WHERE id = $1 AND status <> 'suppressed'",
        message,
        reason,
    )


async def hand_over(work: UnitOfWork, delivery: NewDelivery, channel: str, now: datetime) -> None:
    """Queue a message for its endpoint; one that returned is queued again under its id.

    A lease that an attempt still has is void from here on. `now`: business time.
    """
    await work.driver.execute(
        "UPDATE alerts.customer_message SET status = 'handed', channel = $2, endpoint_id = $3, "
        "handed_at = $4 WHERE id = $1",
        delivery.id,
        channel,
        delivery.endpoint_id,
        now,
    )
    await work.driver.execute(
        """
        INSERT INTO alerts.delivery AS d (customer_id, id, endpoint_id, task_id, kind, body,
                                          next_at, created_at, received_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 0)
        ON CONFLICT (customer_id, id) DO UPDATE
           SET endpoint_id = excluded.endpoint_id, body = excluded.body, status = 'pending',
               next_at = excluded.next_at, attempts = 0, token = NULL, finished_at = NULL,
               reason = NULL
        """,
        delivery.customer_id,
        delivery.id,
        delivery.endpoint_id,
        delivery.task_id,
        delivery.kind,
        delivery.body,
        delivery.created_at,
    )


async def report(
    work: UnitOfWork, message: str, outcome: Result, at: datetime, reason: str | None
) -> None:
    """Store what the provider reported of a message."""
    await work.driver.execute(
        "UPDATE alerts.customer_message SET outcome = $2, outcome_at = $3, "
        "outcome_reason = $4 WHERE id = $1",
        message,
        outcome,
        at,
        reason,
    )


async def takers(work: UnitOfWork) -> set[str]:
    """Return the webhooks with a route that names `customer_message.send`."""
    rows = await work.driver.fetch(
        "SELECT id FROM alerts.endpoint WHERE deleted_at IS NULL AND kind = 'webhook' "
        "AND route -> 'event_types' ? $1",
        SEND,
    )
    return {row["id"] for row in rows}


async def page(
    work: UnitOfWork, chosen: MessageFilter, before: int | None, most: int
) -> list[dict[str, Any]]:
    """Return at most `most` messages, newest first, those before the number `before`."""
    query = sa.select(m)
    query = query.where(
        *equal(
            (m.c.status, chosen.status),
            (m.c.task_id, chosen.task_id),
        )
    )
    if chosen.customer_id is not None:
        query = query.where(m.c.customer_id.in_(ids_of(chosen.customer_id)))
    if before is not None:
        query = query.where(m.c.seq < before)
    query = query.order_by(m.c.seq.desc()).limit(most)
    return await rows_of(work, query)
