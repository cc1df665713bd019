"""The clock of business time: in a replay only the ticks that were read move it."""

from datetime import UTC, datetime

from services.alerts.ports import TICK
from shared.postgres.engine import UnitOfWork
from shared.runtime.clock import Clock


class BusinessClock:
    """The wall clock when live; in a replay the newest tick of any partition."""

    def __init__(self, wall: Clock, *, replay: bool) -> None:
        self._wall = wall
        self._replay = replay

    async def now(self, work: UnitOfWork) -> datetime:
        """Return business time, UTC; in a replay before its first tick, the Unix epoch."""
        if not self._replay:
            return self._wall.now()
        newest = await work.driver.fetchval(
            "SELECT max((progress::json ->> $1)::float8) FROM alerts.partition", TICK
        )
        return datetime.fromtimestamp(newest or 0.0, UTC)
