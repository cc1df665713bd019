"""Deliveries as operators see them: what waits, what was tried."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.store.tables import attempt, delivery
from shared.postgres.engine import unit_of_work

DeliveryStatus = Literal["pending", "delivered", "failed"]

ATTEMPTS_MAX = 200
"""Attempts of one delivery shown at once: ten of the schedule, and what was resent by hand."""

_SHOWN = [c for c in delivery.c if c.name not in ("body", "token", "received_ms")]


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; None: all."""

    status: DeliveryStatus | None = None
    endpoint_id: str | None = None
    customer_id: str | None = None
    task_id: str | None = None


class DeliveryLog:
    """Reads, and the few things that an operator may change. Opens its own transactions."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, chosen: DeliveryFilter, before_seq: int | None, most: int
    ) -> list[dict[str, Any]]:
        """At most `most` deliveries without their bodies, newest first."""
        query = sa.select(*_SHOWN)
        for column, wanted in (
            (delivery.c.status, chosen.status),
            (delivery.c.endpoint_id, chosen.endpoint_id),
            (delivery.c.customer_id, chosen.customer_id),
            (delivery.c.task_id, chosen.task_id),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        if before_seq is not None:
            query = query.where(delivery.c.seq < before_seq)
        return await self._all(query.order_by(delivery.c.seq.desc()).limit(most))

    async def find(self, delivery_id: str) -> dict[str, Any] | None:
        """A delivery with its attempts, oldest first; None when there is none."""
        found = await self._all(sa.select(*_SHOWN).where(delivery.c.id == delivery_id))
        if not found:
            return None
        attempts = sa.select(attempt).where(
            attempt.c.customer_id == found[0]["customer_id"], attempt.c.delivery_id == delivery_id
        )
        rows = await self._all(attempts.order_by(attempt.c.started_at).limit(ATTEMPTS_MAX))
        return {**found[0], "tries": rows}

    async def resend(self, delivery_id: str, now: datetime) -> bool:
        """Send again from the first attempt of the schedule on, under the same id.

        False when there is no such delivery or an attempt is under way.
        """
        d = delivery.c
        change = (
            delivery.update()
            .where(d.id == delivery_id, sa.or_(d.token.is_(None), d.next_at <= now))
            .values(status="pending", attempts=0, next_at=now, token=None, finished_at=None)
        )
        async with unit_of_work(self._engine) as work:
            done = await work.connection.execute(change)
        return done.rowcount == 1

    async def waiting(self) -> tuple[int, datetime | None]:
        """How many deliveries are pending, and when the oldest of them was made."""
        query = sa.select(sa.func.count(), sa.func.min(delivery.c.created_at)).where(
            delivery.c.status == "pending"
        )
        async with unit_of_work(self._engine) as work:
            count, oldest = (await work.connection.execute(query)).one()
        return count, oldest

    async def _all(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        async with unit_of_work(self._engine) as work:
            return [dict(row) for row in (await work.connection.execute(query)).mappings()]
