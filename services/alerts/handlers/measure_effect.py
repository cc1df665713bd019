"""Measures the effect of the tasks: outcomes when windows end, effects on request."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.effect import (
    DIMENSIONS,
    Dimension,
    Effect,
    MeasuredSubject,
    Point,
    by,
    compare,
    growth,
    save_rate,
)
from services.alerts.core.intervals import Pick
from services.alerts.core.playbook import named
from services.alerts.store import effects as effect_store
from services.alerts.store import trials as trial_store
from services.alerts.store.policies import Policies
from services.alerts.store.rows import forget
from services.alerts.store.tables import assessment, purchase
from services.alerts.store.uplift_fits import StoredFit, UpliftFits
from shared.postgres.engine import unit_of_work

TRIALS_MAX = 2_000
"""Trials measured in one transaction."""
FORGET_MAX = 5_000
"""Old rows deleted in one transaction."""
SAVE_RATES_EVERY = timedelta(hours=6)
"""How often save rates are computed: they change over weeks, and all subjects are read."""
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
SEED = 20_170_601
"""Seed of the bootstrap, so that the same data give the same report."""


@dataclass(frozen=True, slots=True)
class EffectReport:
    """The effect of a policy in a period, whole and in parts."""

    policy: str
    begin: datetime | None
    end: datetime | None
    unmeasured: int
    whole: Effect
    parts: dict[Dimension, dict[str, Effect]]
    growth: list[Point] = field(default_factory=list)
    learned: StoredFit | None = None
    """The newest fit of effects on single customers; None: none yet."""
    withheld: int = 0
    """Tasks withheld within the period (all time by default): they clearly do not help."""


@dataclass(slots=True, kw_only=True)
class MeasureOutcomes:
    """A step of the timers: measures trials, stores save rates, deletes what is too old."""

    engine: AsyncEngine
    policies: Policies
    late: timedelta
    """How long to wait for late purchases after a window has ended."""
    keep: timedelta
    """How long purchases and assessments are kept."""
    kept_at: datetime | None = None
    """When this process last stored save rates, business time."""
    measured: int = 0
    """Trials measured since then."""

    async def __call__(self, now: datetime) -> None:
        """Do what is due at `now`, business time."""
        while True:
            async with unit_of_work(self.engine) as work:
                done = await trial_store.measure(work, now - self.late, now, TRIALS_MAX)
            self.measured += done
            if done < TRIALS_MAX:
                break
        if self.measured and (self.kept_at is None or now - self.kept_at >= SAVE_RATES_EVERY):
            await self._keep_save_rates(now)
            self.kept_at, self.measured = now, 0
        async with unit_of_work(self.engine) as work:
            await forget(work, purchase.c.at, now - self.keep, FORGET_MAX)
            await forget(work, assessment.c.assessed_at, now - self.keep, FORGET_MAX)

    async def _keep_save_rates(self, now: datetime) -> None:
        async with unit_of_work(self.engine) as work:
            _, policy = await self.policies.current(work)
            subjects = await effect_store.subjects(work, policy.name, None, None)
        found = await asyncio.to_thread(by, "playbook", subjects, picking())
        rates = {
            name: (save_rate(named(policy, name).save_rate, effect), effect)
            for name, effect in found.items()
            if effect.claim != "not_enough_data"
        }
        async with unit_of_work(self.engine) as work:
            await effect_store.put_save_rates(work, rates, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureEffect:
    """Computes the effect of a policy's tasks on request."""

    engine: AsyncEngine
    policies: Policies
    fits: UpliftFits = field(default_factory=UpliftFits)

    async def __call__(
        self,
        policy: str | None,
        begin: datetime | None,
        end: datetime | None,
        dimensions: Sequence[Dimension] = DIMENSIONS,
    ) -> EffectReport:
        """Return the effect of a policy, by default the one in force.

        `begin` and `end` bound the time of the warnings, in business time.
        """
        async with unit_of_work(self.engine) as work:
            _, current = await self.policies.current(work)
            name = policy or current.name
            subjects = await effect_store.subjects(work, name, begin, end)
            unmeasured = await effect_store.unmeasured(work, name)
            learned = await self.fits.newest(work, name, 1)
            withheld, _ = await self.fits.withheld(work, begin or LONG_AGO, 0)
        # Many subjects take seconds of arithmetic, which would block the event loop.
        made = await asyncio.to_thread(
            _report, subjects, (name, begin, end, unmeasured), dimensions
        )
        return replace(made, learned=learned[0] if learned else None, withheld=withheld)


def _report(
    subjects: Sequence[MeasuredSubject],
    about: tuple[str, datetime | None, datetime | None, int],
    dimensions: Sequence[Dimension],
) -> EffectReport:
    pick = picking()
    return EffectReport(
        *about,
        whole=compare(subjects, pick),
        parts={dimension: by(dimension, subjects, pick) for dimension in dimensions},
        growth=growth(subjects),
    )


def picking(seed: int = SEED) -> Pick:
    """Return a function that draws for the bootstrap, the same on every run."""
    chance = np.random.Generator(np.random.PCG64(seed))
    return lambda below, shape: chance.integers(0, below, shape)
