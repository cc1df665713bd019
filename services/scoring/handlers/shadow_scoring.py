"""The challenger's scores beside the champion's, on the same rows, off the hot path.

A turn hands over what it stored, after its commit, and goes on at once. What a crash or a full
queue takes away is a comparison, never an assessment; it is counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from services.scoring import metrics
from services.scoring.core.features.times import moments
from services.scoring.ports import BatchEffects, Predictor
from shared.kernel.errors import Transient
from shared.runtime.service import Stop

Floats = NDArray[np.float64]

log = structlog.get_logger(__name__)

QUEUE_ROWS_MAX: Final = 20_000
"""Assessments that wait for the challenger: ten full turns, about 20 MB of features."""
DRAIN_S: Final = 0.5
"""How often the queue is emptied: long enough to make batches, short enough to stay small."""


class ShadowScore(NamedTuple):
    """One customer's two scores, as stored."""

    version: str
    customer_id: str
    assessed_at: object
    probability: float
    champion: str
    champion_probability: float


@dataclass(frozen=True, slots=True)
class ShadowBatch:
    """Assessments of one turn."""

    champion: str
    customers: Sequence[str]
    assessed_at: Sequence[datetime]
    features: Floats
    """float64[n, F]."""
    probability: Floats

    def __len__(self) -> int:
        return len(self.customers)


class Shadows(Protocol):
    """Keeps both scores."""

    async def add(self, rows: Sequence[ShadowScore]) -> None: ...


class ShadowScoring:
    """`offer` is the hook in the turn; `watch` the loop that scores."""

    def __init__(self, challenger: Callable[[], Predictor | None], store: Shadows) -> None:
        self._challenger = challenger
        self._store = store
        self._queue: deque[ShadowBatch] = deque()

    def offer(self, effects: BatchEffects) -> None:
        """Take the assessments of a committed turn, as far as there is room."""
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
        """Score what waits until stopped."""
        while not await stop.wait(DRAIN_S):
            try:
                await self.drain()
            except Transient as trouble:
                log.warning("challenger's scores not kept", trouble=str(trouble))

    async def drain(self) -> None:
        """Score and store everything that waits. Raises Transient; nothing is lost by it."""
        challenger = self._challenger()
        waiting = list(self._queue)
        if challenger is not None and waiting:
            await self._store.add(await asyncio.to_thread(_score, challenger, waiting))
            metrics.SHADOW_SCORES.inc(sum(map(len, waiting)))
        for _ in waiting:
            self._queue.popleft()


def _score(challenger: Predictor, waiting: Sequence[ShadowBatch]) -> list[ShadowScore]:
    p = challenger.predict(np.concatenate([turn.features for turn in waiting]))
    of_each = (
        (customer, at, turn.champion, champions)
        for turn in waiting
        for customer, at, champions in zip(
            turn.customers, turn.assessed_at, turn.probability.tolist(), strict=True
        )
    )
    return [
        ShadowScore(
            version=challenger.version,
            customer_id=customer,
            assessed_at=at,
            probability=probability,
            champion=champion,
            champion_probability=champions,
        )
        for (customer, at, champion, champions), probability in zip(
            of_each, p.tolist(), strict=True
        )
    ]
