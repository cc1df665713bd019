"""Sets scoring's gauges: those that a loop updates, and those that are read at each scrape."""

import math
from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring import metrics
from services.scoring.consumer_lane import ConsumerLane
from services.scoring.core.imports import under_way
from services.scoring.handlers.import_watch import ImportWatch
from services.scoring.handlers.model_serving import ModelServing
from services.scoring.handlers.value_policy_cache import ValuePolicyCache
from services.scoring.settings import ScoringSettings
from services.scoring.store.business_clock import BusinessClock
from services.scoring.store.tables import SCHEMA
from services.scoring.store.timers import Timers
from shared.postgres.ledger import Ledger
from shared.runtime import service
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat

SILENCES_S = 5.0
"""Seconds between two counts of the due customers: three within the usual scrape interval."""


async def show(
    lanes: Sequence[ConsumerLane], valuing: ValuePolicyCache, imports: ImportWatch
) -> None:
    """Updates the gauges, also while no batch succeeds."""
    consumers = [lane.consumer for lane in lanes]
    claims = [claim for c in consumers for claim in c.claims.values()]
    metrics.SEGMENTS_UNUSABLE.set(len(valuing.unusable))
    metrics.PARTITIONS.set(len(claims))
    metrics.PARTITIONS_STOPPED.set(sum(len(c.stopped) for c in consumers))
    metrics.BACKFILLS.set(sum(under_way(claim.progress) is not None for claim in claims))
    imports(claims)


def read_ages(lanes: Sequence[ConsumerLane], serving: ModelServing, clock: Clock) -> None:
    """Sets what the gauges of ages, and of the serving model, read at each scrape."""

    def looked() -> list[tuple[tuple[str, ...], float]]:
        reading = [lane.looked_s for lane in lanes if lane.consumer.claims]
        return [((), clock.monotonic() - min(reading))] if reading else []

    def newest() -> list[tuple[tuple[str, ...], float]]:
        at_s = max(lane.newest_s for lane in lanes)
        return [((), clock.now().timestamp() - at_s)] if math.isfinite(at_s) else []

    def made() -> list[tuple[tuple[str, ...], float]]:
        at = serving.made_at
        return [((), 0.0 if at is None else (clock.now() - at).total_seconds())]

    def serves() -> list[tuple[tuple[str, ...], float]]:
        model = serving.current()
        return [((model.version, model.method, model.version.partition("-")[0]), 1.0)]

    metrics.MODEL.read = serves
    metrics.LAST_LOOK_AGE.read = looked
    metrics.FEATURE_AGE.read = newest
    metrics.MODEL_AGE.read = made


class Silences:
    """Counts the customers that are due, for the metrics."""

    def __init__(self, settings: ScoringSettings, engine: AsyncEngine, clock: Clock) -> None:
        self._timers, self._topic, self._clock = Timers(engine), settings.activity_topic, clock
        replay = settings.clock == "replay"
        self._business = (
            BusinessClock(Ledger(engine, SCHEMA), self._topic, clock, replay=True)
            if replay
            else None
        )

    async def watch(self, stop: service.Stop) -> None:
        """Count until stopped."""
        await repeat(self._count, stop, "silences", SILENCES_S, at_once=True)

    async def _count(self) -> None:
        now = self._clock.now() if self._business is None else await self._business.now()
        count, oldest = (0, None) if now is None else await self._timers.due(now)
        metrics.SILENCE_DUE.set(count)
        late = 0.0 if now is None or oldest is None else (now - oldest).total_seconds()
        metrics.SILENCE_OLDEST_DUE.set(late)


def observe_aside(aside: Mapping[str, int]) -> None:
    """Sets the number of customers of each kind that are set aside."""
    metrics.SET_ASIDE.clear()
    for kind, count in aside.items():
        metrics.SET_ASIDE.labels(kind).set(count)
