"""Measures the warnings that were raised: how many, and what became of them, as they mature."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core import realised
from services.alerts.core.budget_tuning import TuningResult
from services.alerts.core.realised import Realised
from services.alerts.handlers.dry_run_policy import DryRunPolicy
from services.alerts.store import trials as trial_store
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.policies import Policies
from shared.postgres.engine import unit_of_work
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

MEASURE_S: Final = 6 * 3_600.0
"""Seconds between two measurements: outcomes mature within days."""

FIRST_S: Final = 60.0
"""Seconds until the first, so that it does not delay the start."""

CUSTOMERS_MAX: Final = 5_000
"""Customers that are measured, the first by id: shares are then known to about a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureWarnings:
    """The loop. `observe` is called with the figures and the budget per 100 customers."""

    engine: AsyncEngine
    policies: Policies
    stored: DryRunPolicy
    business_clock: BusinessClock
    observe: Callable[[Realised, float | None], None]

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`."""
        if not await stop.wait(FIRST_S):
            await repeat(self.measure, stop, "warnings", MEASURE_S, at_once=True)

    async def measure(self) -> None:
        """Measure once; raises Transient."""
        async with unit_of_work(self.engine) as work:
            _, policy = await self.policies.current(work)
            end = await self.business_clock.now(work)
        begin, found = end - timedelta(days=realised.WINDOW_DAYS), TuningResult()
        async for page in self.stored.pages(begin, end, CUSTOMERS_MAX):
            async with unit_of_work(self.engine) as work:
                raised = await trial_store.raised(work, list(page.histories), begin)
            await asyncio.to_thread(realised.add, found, page.histories, raised, page.bought, end)
        self.observe(realised.realised(found, end), policy.budget.warnings_per_100)
