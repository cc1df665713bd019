"""Learns from measured trials which customers the playbooks keep: a step of the timers."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.uplift.fit import TRIALS_MIN, UpliftFit, fit
from services.alerts.handlers.measure_effect import FORGET_MAX, picking
from services.alerts.store import effects as effect_store
from services.alerts.store.policies import Policies
from services.alerts.store.rows import forget
from services.alerts.store.tables import withheld_task
from services.alerts.store.uplift_fits import UpliftFits
from shared.postgres.engine import unit_of_work
from shared.runtime.clock import Clock

log = structlog.get_logger(__name__)

FIT_EVERY: Final = timedelta(days=1)
"""Least business time between two fits: effects change over weeks."""
CHECK_EVERY: Final = timedelta(hours=1)
"""Business time between checks whether a fit is due: a check counts trials."""
NEW_SHARE: Final = 0.05
"""New trials that a further fit needs, as a share of those of the last: fewer change nothing, and
the number of fits grows with the logarithm of the number of trials."""
NEW_MIN: Final = 50
"""The least number of new trials for a fit: those of one arm that a rate needs."""


@dataclass(slots=True, kw_only=True)
class LearnEffects:
    """Fits when enough new trials were measured; forgets old decisions that withheld a task."""

    engine: AsyncEngine
    fits: UpliftFits
    policies: Policies
    clock: Clock
    keep: timedelta
    """How long decisions that withheld a task are kept."""
    checked_at: datetime | None = None
    """When this process last checked, business time."""

    async def __call__(self, now: datetime) -> None:
        """Do what is due at `now`, business time."""
        if self.checked_at is not None and timedelta(0) <= now - self.checked_at < CHECK_EVERY:
            return
        self.checked_at = now
        async with unit_of_work(self.engine) as work:
            await forget(work, withheld_task.c.at, now - self.keep, FORGET_MAX)
            _, policy = await self.policies.current(work)
            known = await self.fits.newest(work, policy.name, 1)
            last = known[0] if known else None
            if last is not None and now - last.fitted_at < FIT_EVERY:
                return
            since, before = (None, 0) if last is None else (last.fit.newest, last.fit.trials)
            new = await effect_store.measured_after(work, policy.name, since)
            if new < max(NEW_MIN, NEW_SHARE * before):
                return
            subjects = await effect_store.uplift_subjects(work, policy.name)
        # A fit on many trials takes seconds of arithmetic, which would block the event loop.
        made = await asyncio.to_thread(fit, subjects, picking())
        note = describe(made)
        async with unit_of_work(self.engine) as work:
            version = await self.fits.put(
                work,
                policy.name,
                made,
                note,
                after=None if last is None else last.version,
                at=now,
                recorded_at=self.clock.now(),
            )
        if version is not None:
            log.info("effects learned", policy=policy.name, version=version, note=note)


def describe(made: UpliftFit) -> str:
    """Return what was decided and why, as a sentence: it is stored and logged with the fit."""
    trials = f"{made.trials:,} measured trials with features"
    gate = made.gate
    if gate is None:
        return (
            f"The playbooks' rates serve: {trials}; customers' own effects need {TRIALS_MIN:,}, "
            "and 500 of a playbook with 50 in each arm."
        )
    interval = f"{gate.advantage:+.4f} ({gate.low:+.4f} to {gate.high:+.4f}, 90 %)"
    judged = f"on {gate.subjects:,} later trials their Qini coefficient differs by {interval}"
    if made.decision == "serves":
        return f"Customers' own effects serve, from {trials}: {judged} from that of the rates."
    return f"The playbooks' rates serve: {trials}; {judged}, not clearly above 0."
