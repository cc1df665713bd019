"""Updates the gauges: pending deliveries, consumer lag, table partitions, items set aside."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.alerts import metrics
from shared.kafka.batch import Batch
from shared.postgres.housekeeping import Kept
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

INTERVAL_S = 5.0
"""Seconds between updates: three within the shortest usual scrape interval of 15 s."""

NAME = "measure"


def note_lag(batch: Batch) -> None:
    """Set the lag of each claimed partition: records in the log after this batch."""
    for tp, end in batch.ends.items():
        records = batch.records.get(tp)
        at = records[-1].offset + 1 if records else batch.claims[tp].next_offset or 0
        metrics.LAG_RECORDS.labels(*tp).set(max(0, end - at))


def observe_kept(kept: Kept) -> None:
    """Set the gauges of a table that is kept by time."""
    name = kept.table.name
    metrics.LOG_PARTITIONS.labels(name).set(kept.partitions)
    metrics.LOG_REST.labels(name).set(kept.rest_rows)


def observe_aside(aside: Mapping[str, int]) -> None:
    """Set the number of items of each kind that are set aside."""
    metrics.SET_ASIDE.clear()
    for kind, count in aside.items():
        metrics.SET_ASIDE.labels(kind).set(count)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateGauges:
    """The loop of the gauges. `waiting` returns the count and the oldest of pending deliveries."""

    waiting: Callable[[], Awaitable[tuple[int, datetime | None]]]
    clock: Clock
    health: Health

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        await repeat(self._update, stop, NAME, INTERVAL_S, health=self.health)

    async def _update(self) -> None:
        count, oldest = await self.waiting()
        age = (self.clock.now() - oldest).total_seconds() if oldest else 0.0
        metrics.UNDELIVERED.set(count)
        metrics.UNDELIVERED_OLDEST_S.set(max(age, 0.0))
