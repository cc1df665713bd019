"""SQL statements on the intake's stops."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store.tables import intake_stop
from shared.postgres.engine import unit_of_work


class Stops:
    """Implements `ports.IntakeStops`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open(self, reason: str, at: datetime) -> None:
        """Note a stop."""
        async with unit_of_work(self._engine) as work:
            await work.connection.execute(intake_stop.insert().values(reason=reason, stopped_at=at))

    async def reason(self) -> str | None:
        """Return why the intake is stopped; None when it is not."""
        t = intake_stop.c
        query = sa.select(t.reason).where(t.resumed_at.is_(None)).order_by(t.id).limit(1)
        async with unit_of_work(self._engine) as work:
            reason: str | None = (await work.connection.execute(query)).scalar_one_or_none()
        return reason

    async def resume(self, at: datetime) -> int:
        """End every open stop; returns how many there were."""
        change = intake_stop.update().where(intake_stop.c.resumed_at.is_(None))
        async with unit_of_work(self._engine) as work:
            return (await work.connection.execute(change.values(resumed_at=at))).rowcount
