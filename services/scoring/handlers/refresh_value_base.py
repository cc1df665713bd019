"""Measures the customer base and applies decisions to every customer, in bounded steps.

One job reads stored states page by page, keeps a sample, fits and stores one row. The other makes
customers that a changed definition or threshold may concern due, page by page; the sweep then
assesses them.
"""

import asyncio
import heapq
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec
import numpy as np
import structlog

from services.scoring.core.features import state as states_of
from services.scoring.core.features.compute import features
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.value.affinity import Counts
from services.scoring.core.value.base import measure
from services.scoring.core.value.classify import Valuation
from services.scoring.core.value.grades import influence
from services.scoring.store.value_jobs import StatePage, ValueJobs
from shared.contracts.events import Profile
from shared.kernel.arrays import Floats
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

SAMPLE_CUSTOMERS_MAX: Final = 10_000
"""Sample size: a quintile edge is within half a per cent of the base's; 15 MB of states."""
PAGE_CUSTOMERS: Final = 2_000
"""States read per step: 3 MB, about 10 ms."""
PAUSE_S: Final = 0.1
"""Seconds between steps: the jobs take at most a tenth of PostgreSQL's time."""
STEP_S: Final = 0.5
"""Seconds between two checks for work."""


class Sample:
    """Sample of the customers with the smallest hashes: random, whatever the reading order."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, str, bytes, bytes | None]] = []

    def add(self, page: StatePage) -> None:
        """Adds a page; states of another feature set cannot be read and are left out."""
        for customer, feature_set, packed, profile in zip(
            page.customers, page.feature_sets, page.states, page.profiles, strict=True
        ):
            if feature_set != states_of.FEATURE_SET:
                continue
            row = (-stable_hash(customer, ""), customer, packed, profile)
            if len(self._kept) < SAMPLE_CUSTOMERS_MAX:
                heapq.heappush(self._kept, row)
            elif row[0] > self._kept[0][0]:
                heapq.heapreplace(self._kept, row)

    def __len__(self) -> int:
        """Number of customers in the sample."""
        return len(self._kept)

    def columns(self, now: float) -> tuple[Floats, Floats, Counts]:
        """Returns X, influence and category sketches of the sample at `now`, ordered by id."""
        kept = sorted(self._kept, key=lambda row: row[1])
        states = states_of.from_bytes([row[2] for row in kept])
        decode = msgspec.json.Decoder(Profile).decode
        profiles = [None if row[3] is None else decode(row[3]) for row in kept]
        x = features(states, np.full(len(kept), now))
        return x, influence(profiles), states["categories"]


async def sampled(jobs: ValueJobs, stop: Stop | None = None) -> Sample | None:
    """Returns a sample of all stored states; with `stop`, pauses between pages, None once set."""
    sample, after = Sample(), ""
    while True:
        page = await jobs.states(after, PAGE_CUSTOMERS)
        sample.add(page)
        if len(page.customers) < PAGE_CUSTOMERS:
            return sample
        after = page.customers[-1]
        if stop is not None and await stop.wait(PAUSE_S):
            return None


class RefreshValueBase:
    """Both jobs; every replica may run them, one replica at a time does."""

    def __init__(
        self,
        jobs: ValueJobs,
        current: Callable[[], Valuation],
        clock: Clock,
        *,
        refresh_s: float,
        first_s: float,
    ) -> None:
        self._jobs = jobs
        self._current = current
        self._clock = clock
        self._refresh = timedelta(seconds=refresh_s)
        self._first_s = first_s
        self._wait_until = -np.inf

    async def watch(self, stop: Stop) -> None:
        """Runs both jobs until stopped; waits while PostgreSQL is unreachable."""
        self._wait_until = self._clock.monotonic() + self._first_s
        await repeat(partial(self._run_due, stop), stop, "value refresh", STEP_S)

    async def _run_due(self, stop: Stop) -> None:
        while await self._jobs.reassess(PAGE_CUSTOMERS, self._clock.now()):
            if await stop.wait(PAUSE_S):
                return
        await self.measure_when_due(stop)

    async def measure_when_due(self, stop: Stop) -> bool:
        """Measures if it is time and no other replica does; returns whether a base was stored."""
        wall = self._clock.now()
        if self._clock.monotonic() < self._wait_until:
            return False
        now = await self._jobs.business_time()
        if now is None or not await self._jobs.lease_measuring(wall, wall - self._refresh):
            return False
        try:
            done = await self._measure(now, stop)
        finally:
            await self._jobs.release_measuring()
        if not done:
            self._wait_until = self._clock.monotonic() + self._first_s
        return done

    async def _measure(self, now: float, stop: Stop) -> bool:
        sample = await sampled(self._jobs, stop)
        if not sample:
            return False
        try:
            base = await asyncio.to_thread(_fit, sample, now, self._current())
        except ValueError as reason:
            log.info("base not measured yet", reason=str(reason))
            return False
        version = await self._jobs.save_base(base, self._clock.now())
        log.info("base measured", version=version, customers=len(sample))
        return True


def _fit(sample: Sample, now: float, by: Valuation) -> str:
    x, reach, categories = sample.columns(now)
    return msgspec.json.encode(measure(x, reach, categories, by.policy, by.clock)).decode()
