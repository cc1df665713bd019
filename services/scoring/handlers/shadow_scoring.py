"""Scores the champion's rows with the shadow model (the challenger) too, off the hot path.

After its commit a batch hands over its stored assessments and goes on at once. A crash or a full
queue can lose comparisons but never assessments; rows skipped for a full queue are counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import numpy as np
import structlog

from services.scoring import metrics
from services.scoring.core.features.times import moments
from services.scoring.ports import BatchEffects, Predictor
from shared.kernel.arrays import Floats
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

QUEUE_ROWS_MAX: Final = 20_000
"""Assessments that may wait for the challenger: ten full batches, about 20 MB of features."""
DRAIN_S: Final = 0.5
"""Seconds between drains of the queue: long enough to gather batches, and the queue stays small."""


class ShadowScore(NamedTuple):
    """Stored scores of one customer by both models."""

    version: str
    customer_id: str
    assessed_at: object
    probability: float
    champion: str
    champion_probability: float


@dataclass(frozen=True, slots=True)
class ShadowBatch:
    """Assessments of one batch."""

    champion: str
    customers: Sequence[str]
    assessed_at: Sequence[datetime]
    features: Floats
    """float64[n, F]."""
    probability: Floats

    def __len__(self) -> int:
        return len(self.customers)


class Shadows(Protocol):
    """Stores both scores."""

    async def add(self, rows: Sequence[ShadowScore]) -> None: ...


class ShadowScoring:
    """Queue of assessments (`offer`, called after a batch) and the loop that scores (`watch`)."""

    def __init__(self, challenger: Callable[[], Predictor | None], store: Shadows) -> None:
        self._challenger = challenger
        self._store = store
        self._queue: deque[ShadowBatch] = deque()

    def offer(self, effects: BatchEffects) -> None:
        """Queues the assessments of a committed batch, as far as there is room."""
        made = effects.assessments
        if self._challenger() is None or not len(made):
            return
        room = max(0, QUEUE_ROWS_MAX - sum(map(len, self._queue)))
        metrics.SHADOW_SKIPPED.inc(max(0, len(made) - room))
        if not room:
            return
        if len(made) > room:
            made = made.take(np.arange(room))
        self._queue.append(
            ShadowBatch(
                champion=effects.predictor.version,
                customers=[effects.customers[row] for row in made.row.tolist()],
                assessed_at=moments(made.assessed_at),
                features=made.features,
                probability=made.probability,
            )
        )

    async def watch(self, stop: Stop) -> None:
        """Scores queued assessments until stopped."""
        await repeat(self.drain, stop, "challenger's scores", DRAIN_S)

    async def drain(self) -> None:
        """Scores and stores everything queued. Raises Transient and then keeps the queue."""
        challenger = self._challenger()
        waiting = list(self._queue)
        if challenger is not None and waiting:
            await self._store.add(await asyncio.to_thread(_score, challenger, waiting))
            metrics.SHADOW_SCORES.inc(sum(map(len, waiting)))
        for _ in waiting:
            self._queue.popleft()


def _score(challenger: Predictor, waiting: Sequence[ShadowBatch]) -> list[ShadowScore]:
    features = np.concatenate([batch.features for batch in waiting])
    p = iter(challenger.predict(features).tolist())
    return [
        ShadowScore(
            version=challenger.version,
            customer_id=customer,
            assessed_at=at,
            probability=next(p),
            champion=batch.champion,
            champion_probability=champions,
        )
        for batch in waiting
        for customer, at, champions in zip(
            batch.customers, batch.assessed_at, batch.probability.tolist(), strict=True
        )
    ]
