"""Reads business time: the wall clock, or in a replay the tick of the slowest partition."""

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from services.scoring.core.imports import under_way
from services.scoring.ports import NOW
from shared.postgres.ledger import Ledger
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class BusinessClock:
    """Business time of the activity topic's partitions.

    It is undefined while an import is under way (states are incomplete) and before any tick."""

    ledger: Ledger
    topic: str
    clock: Clock
    replay: bool

    async def now(self) -> datetime | None:
        """Returns business time, UTC, or None where it is undefined. Raises Transient."""
        rows = await self.ledger.list_all()
        found = [orjson.loads(row["progress"]) for row in rows if row["topic"] == self.topic]
        if any(under_way(progress) is not None for progress in found):
            return None
        if not self.replay:
            return self.clock.now()
        if not found or any(NOW not in progress for progress in found):
            return None
        return datetime.fromtimestamp(min(progress[NOW] for progress in found), UTC)
