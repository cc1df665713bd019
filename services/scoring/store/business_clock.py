"""Reads business time: the wall clock, or in a replay the tick of the slowest partition."""

from datetime import UTC, datetime

import orjson

from services.scoring.core.imports import under_way
from services.scoring.ports import NOW
from shared.postgres.ledger import Ledger
from shared.runtime.clock import Clock


class BusinessClock:
    """Business time of the activity topic's partitions.

    It is undefined while an import is under way (states are incomplete) and before any tick."""

    def __init__(self, ledger: Ledger, topic: str, clock: Clock, *, replay: bool) -> None:
        self._ledger = ledger
        self._topic = topic
        self._clock = clock
        self._replay = replay

    async def now(self) -> datetime | None:
        """Returns business time, UTC, or None where it is undefined. Raises Transient."""
        rows = await self._ledger.list_all()
        found = [orjson.loads(row["progress"]) for row in rows if row["topic"] == self._topic]
        if any(under_way(progress) is not None for progress in found):
            return None
        if not self._replay:
            return self._clock.now()
        if not found or any(NOW not in progress for progress in found):
            return None
        return datetime.fromtimestamp(min(progress[NOW] for progress in found), UTC)
