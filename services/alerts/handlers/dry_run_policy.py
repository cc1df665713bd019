"""Tries and tunes a policy on the stored assessments, page by page; raises no task."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.budget_tuning import TuningResult, find
from services.alerts.core.dry_run import DryRunResult, try_customers
from services.alerts.core.policy_document import Policy
from services.alerts.core.uplift.served import ServedEffects
from services.alerts.store import assessments as assessment_store
from services.alerts.store.uplift_fits import UpliftFits
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed
from shared.postgres.engine import unit_of_work

CUSTOMERS_MAX: Final = 20_000
"""Most customers of one dry run: it takes some seconds, and precision is known to about a point."""
PAGE: Final = 500
"""Customers read at once: about 30 MB of assessments of half a year."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The data of some customers."""

    histories: Mapping[str, Sequence[RiskAssessed]]
    bought: Mapping[str, Sequence[datetime]]
    profiles: Mapping[str, Profile]


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunPolicy:
    """Computes what a policy would have done between two times."""

    engine: AsyncEngine
    fits: UpliftFits = field(default_factory=UpliftFits)

    async def __call__(
        self, policies: list[Policy], begin: datetime, end: datetime, customers: int
    ) -> list[DryRunResult]:
        """Return one result for each policy, over the same customers.

        They are the first by id, at most `customers` of them.
        """
        found = [DryRunResult() for _ in policies]
        effects = [await self._effects(policy) for policy in policies]
        async for page in self.pages(begin, end, customers):
            for tried, policy, known in zip(found, policies, effects, strict=True):
                await asyncio.to_thread(
                    try_customers, tried, policy, page.histories, page.bought, page.profiles, end,
                    known,
                )  # fmt: skip
        return found

    async def warnings(
        self, policy: Policy, begin: datetime, end: datetime, customers: int
    ) -> TuningResult:
        """Return the warnings of a policy without a budget, over the same customers."""
        found = TuningResult()
        effects = await self._effects(policy)
        async for page in self.pages(begin, end, customers):
            await asyncio.to_thread(
                find, found, policy, page.histories, page.bought, page.profiles, end, effects
            )
        return found

    async def _effects(self, policy: Policy) -> ServedEffects | None:
        async with unit_of_work(self.engine) as work:
            return await self.fits.current(work, policy.name)

    async def pages(
        self, begin: datetime, end: datetime, customers: int
    ) -> AsyncIterator[HistoryPage]:
        """Yield what is stored of the first customers by id, at most `customers` of them."""
        after, left = "", min(customers, CUSTOMERS_MAX)
        while left > 0:
            async with unit_of_work(self.engine) as work:
                histories = await assessment_store.between(work, begin, end, after, min(PAGE, left))
                bought = await assessment_store.purchases(work, list(histories), begin)
                profiles = await assessment_store.profiles(work, list(histories))
            yield HistoryPage(histories, bought, profiles)
            if len(histories) < min(PAGE, left):
                break
            left -= len(histories)
            after = list(histories)[-1]  # in the order of the database
