"""SQL statements on the intake's stops."""

from datetime import datetime

from services.ingest.store.tables import intake_stop
from shared.postgres.statements import Statements, change, fetch_value


class Stops(Statements):
    """Implements `ports.IntakeStops`."""

    async def open(self, reason: str, at: datetime) -> None:
        """Note a stop."""
        await change(self._engine, intake_stop.insert().values(reason=reason, stopped_at=at))

    async def reason(self) -> str | None:
        """Return why the intake is stopped; None when it is not."""
        query = "SELECT reason FROM ingest.intake_stop WHERE resumed_at IS NULL ORDER BY id LIMIT 1"
        reason: str | None = await fetch_value(self._engine, query)
        return reason

    async def resume(self, at: datetime) -> int:
        """End every open stop; returns how many there were."""
        opened = intake_stop.update().where(intake_stop.c.resumed_at.is_(None))
        return await change(self._engine, opened.values(resumed_at=at))
