"""The challenger's scores beside the champion's, on the same rows, off the hot path.

A turn hands over what it stored, after its commit, and goes on at once. What a crash or a full
queue takes away is a comparison, never an assessment; it is counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import structlog

from services.scoring import metrics
from services.scoring.ports import AssessmentRow, Effects, Predictor
from shared.kernel.errors import Transient
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

QUEUE_ROWS_MAX: Final = 20_000
"""Assessments that wait for the challenger: ten full turns, about 20 MB of features."""
DRAIN_S: Final = 0.5
"""How often the queue is emptied: long enough to make batches, short enough to stay small."""


class Beside(NamedTuple):
    """One customer's two scores, as stored."""

    version: str
    customer_id: str
    assessed_at: object
    probability: float
    champion: str
    champion_probability: float


class Shadows(Protocol):
    """Keeps both scores."""

    async def add(self, rows: Sequence[Beside]) -> None: ...


class Shadow:
    """`offer` is the hook in the turn; `watch` the loop that scores."""

    def __init__(self, challenger: Callable[[], Predictor | None], store: Shadows) -> None:
        self._challenger = challenger
        self._store = store
        self._queue: deque[tuple[str, AssessmentRow]] = deque()

    def offer(self, effects: Effects) -> None:
        """Take the assessments of a committed turn, as far as there is room."""
        if self._challenger() is None or not effects.assessments:
            return
        room = QUEUE_ROWS_MAX - len(self._queue)
        version = effects.predictor.version
        self._queue.extend((version, row) for row in effects.assessments[: max(0, room)])
        metrics.SHADOW_SKIPPED.inc(max(0, len(effects.assessments) - room))

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
            metrics.SHADOW_SCORES.inc(len(waiting))
        for _ in waiting:
            self._queue.popleft()


def _score(challenger: Predictor, waiting: Sequence[tuple[str, AssessmentRow]]) -> list[Beside]:
    x = np.frombuffer(b"".join(row.features for _, row in waiting), "<f8")
    p = challenger.predict(np.ascontiguousarray(x.reshape(len(waiting), -1)))
    return [
        Beside(
            version=challenger.version,
            customer_id=row.customer,
            assessed_at=row.assessed_at,
            probability=float(probability),
            champion=champion,
            champion_probability=row.probability,
        )
        for (champion, row), probability in zip(waiting, p, strict=True)
    ]
