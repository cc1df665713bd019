"""Deliveries as shown to operators: what waits, what was tried."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.store.rows import equal, forget
from services.alerts.store.tables import attempt, delivery
from shared.contracts.customer_message import SEND
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from shared.postgres.statements import select

DeliveryStatus = Literal["pending", "delivered", "failed"]

RECOVER_MAX = timedelta(days=14)
"""How far back failed messages may be sent again at once: older ones are of no use to a CRM."""

ATTEMPTS_MAX = 200
"""Attempts of one delivery shown at once: ten of the schedule, and those resent by hand."""

_SHOWN = [c for c in delivery.c if c.name not in ("body", "token", "received_ms", "traceparent")]


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Selects the deliveries to list; None: all."""

    status: DeliveryStatus | None = None
    endpoint_id: str | None = None
    customer_id: str | None = None
    task_id: str | None = None
    since: datetime | None = None
    """Created at this time or later."""


class DeliveryLog:
    """Reads deliveries, and makes the few changes open to operators, in its own transactions."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, chosen: DeliveryFilter, before_seq: int | None, most: int
    ) -> list[dict[str, Any]]:
        """Return at most `most` deliveries without their bodies, newest first."""
        query = sa.select(*_SHOWN).where(
            *equal(
                (delivery.c.status, chosen.status),
                (delivery.c.endpoint_id, chosen.endpoint_id),
                (delivery.c.customer_id, chosen.customer_id),
                (delivery.c.task_id, chosen.task_id),
            )
        )
        if chosen.since is not None:
            query = query.where(delivery.c.created_at >= chosen.since)
        if before_seq is not None:
            query = query.where(delivery.c.seq < before_seq)
        return await select(self._engine, query.order_by(delivery.c.seq.desc()).limit(most))

    async def find(self, delivery_id: str) -> dict[str, Any] | None:
        """Return a delivery with its attempts, oldest first; None when there is none."""
        found = await select(self._engine, sa.select(*_SHOWN).where(delivery.c.id == delivery_id))
        if not found:
            return None
        attempts = sa.select(attempt).where(
            attempt.c.customer_id == found[0]["customer_id"], attempt.c.delivery_id == delivery_id
        )
        rows = await select(
            self._engine, attempts.order_by(attempt.c.started_at).limit(ATTEMPTS_MAX)
        )
        return {**found[0], "tries": rows}

    async def was_sent(self, endpoint_id: str, task_id: str) -> bool:
        """Return whether a task was ever sent, or is queued, to an endpoint.

        A message to the customer does not count: its provider does not carry the task out.
        """
        d = delivery.c
        sent = (d.task_id == task_id, d.endpoint_id == endpoint_id, d.kind != SEND)
        return bool(await select(self._engine, sa.select(d.id).where(*sent).limit(1)))

    async def resend(self, delivery_id: str, now: datetime) -> bool:
        """Send again from the first attempt of the schedule on, under the same id.

        Returns False when there is no such delivery or an attempt is under way.
        """
        d = delivery.c
        free = sa.or_(d.token.is_(None), d.next_at <= now)
        return await self._again(now, d.id == delivery_id, free) == 1

    async def recover(self, endpoint_id: str, since: datetime, now: datetime) -> int:
        """Send all failed deliveries created since then again, under their ids; return how many.

        Raises Invalid when `since` is more than 14 days back.
        """
        if since < now - RECOVER_MAX:
            raise Invalid("since", f"must be at most {RECOVER_MAX.days} days ago")
        d = delivery.c
        failed = (d.endpoint_id == endpoint_id, d.status == "failed", d.created_at >= since)
        return await self._again(now, *failed)

    async def _again(self, now: datetime, *which: sa.ColumnElement[bool]) -> int:
        """Queue deliveries as if they were new, under their ids; return how many."""
        change = delivery.update().where(*which)
        async with unit_of_work(self._engine) as work:
            done = await work.connection.execute(
                change.values(
                    status="pending", attempts=0, next_at=now, token=None, finished_at=None
                )
            )
        return done.rowcount

    async def forget(self, before: datetime, most: int) -> int:
        """Delete at most `most` deliveries that ended before then; return how many were deleted.

        Deliveries are also the queue, so they cannot be dropped by daily partitions.
        """
        async with unit_of_work(self._engine) as work:
            return await forget(work, delivery.c.finished_at, before, most)

    async def waiting(self) -> tuple[int, datetime | None]:
        """Return how many deliveries are pending, and when the oldest of them was created."""
        query = sa.select(sa.func.count(), sa.func.min(delivery.c.created_at)).where(
            delivery.c.status == "pending"
        )
        async with unit_of_work(self._engine) as work:
            count, oldest = (await work.connection.execute(query)).one()
        return count, oldest
