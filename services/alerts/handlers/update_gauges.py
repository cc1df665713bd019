"""Updates the gauges: pending deliveries, table partitions, items set aside."""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, get_args

from services.alerts import metrics
from services.alerts.core.playbook import Queue
from services.alerts.core.realised import Realised
from shared.observability.collectors import ScrapeGauge
from shared.postgres.housekeeping import Kept
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

INTERVAL_S = 5.0
"""Seconds between updates: three within the shortest usual scrape interval of 15 s."""

NAME = "measure"

NO_TASKS: Final = {(queue, cause): 0 for queue in get_args(Queue) for cause in metrics.CAUSES}
"""Queues and causes that are shown from the start."""


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


def observe_realised(found: Realised, budget: float | None) -> None:
    """Set how many warnings there were, the budget, and what became of them."""
    metrics.WARNINGS_PER_100.set(found.per_100 or 0.0)
    metrics.BUDGET_PER_100.set(math.inf if budget is None else budget)
    _show(metrics.REALISED_RECALL, found.recall)
    _show(metrics.REALISED_PRECISION, found.precision)


def _show(gauge: ScrapeGauge, value: float | None) -> None:
    gauge.read = None if value is None else lambda: [((), value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateGauges:
    """The loop of the gauges.

    `waiting` returns the count and the oldest of pending deliveries; `open_tasks` the number of
    open tasks by queue and cause; `endpoints` the ids of the endpoints that are not deleted.
    """

    waiting: Callable[[], Awaitable[tuple[int, datetime | None]]]
    open_tasks: Callable[[], Awaitable[Mapping[tuple[str, str], int]]]
    endpoints: Callable[[], Awaitable[Collection[str]]]
    clock: Clock
    health: Health
    series: metrics.EndpointSeries = field(default_factory=metrics.EndpointSeries)

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        await repeat(self._update, stop, NAME, INTERVAL_S, health=self.health)

    async def _update(self) -> None:
        count, oldest = await self.waiting()
        self.series(await self.endpoints())
        tasks = dict(await self.open_tasks())
        shown = NO_TASKS | tasks
        metrics.OPEN_TASKS.read = lambda: [(labels, float(n)) for labels, n in shown.items()]
        metrics.UNDELIVERED.set(count)
        metrics.UNDELIVERED_OLDEST_S.read = lambda: [((), self._age_s(oldest))]

    def _age_s(self, since: datetime | None) -> float:
        """Return the seconds since then, at the scrape: they grow in a stall, too."""
        return max(0.0, (self.clock.now() - since).total_seconds()) if since else 0.0
