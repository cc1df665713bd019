"""Takes deliveries from the queue to their endpoints: claim, commit, send, settle.

Nothing is held open while a request is under way. A crash between sending and settling sends
again, with the same id; a worker whose lease ran out cannot settle.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.core.retry import after
from services.alerts.handlers.waiting import heard
from services.alerts.ports import Attempted, Deliveries, Leased, Outbound
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.runtime.backoff import Backoff
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.service import Stop

CLAIM_MAX = 100
"""Deliveries claimed at once per endpoint: half a second of work at 200 a second."""

DRAIN_S = 5.0
"""How long requests under way may take once the service is to end; it has 8 s in all."""

NAME = "deliver"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    """Bounds of the sender."""

    endpoints: tuple[str, ...]
    """Ids of the configured endpoints."""
    concurrency_max: int
    attempt_s: float
    """Longest attempt with its recording: a lease with less left is not used."""
    lease_s: float
    poll_s: float
    delays_s: Sequence[float]


class Deliver:
    """The sender's loop: one per process, safe beside others'."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        deliveries: Deliveries,
        outbound: Outbound,
        sending: Sending,
        clock: Clock,
        health: Health,
        told: asyncio.Event,
    ) -> None:
        self._engine = engine
        self._deliveries = deliveries
        self._outbound = outbound
        self._sending = sending
        self._clock = clock
        self._health = health
        self._told = told
        self._waiting: deque[Leased] = deque()
        self._under_way: dict[asyncio.Task[Attempted], Leased] = {}
        self._ended: list[Attempted] = []

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`, then let requests under way end and give back the rest."""
        backoff = Backoff()
        while not stop:
            self._health.beat(NAME)
            try:
                await self.turn()
                backoff.reset()
                await heard(self._told, stop, self._sending.poll_s)
            except Transient as trouble:
                log.warning("waiting", loop=NAME, trouble=str(trouble))
                await stop.wait(backoff.next())
        self._health.ended(NAME)
        await self._drain()

    async def turn(self) -> None:
        """Settle what has ended, claim what is due, start what there is room for.

        Raises Transient when PostgreSQL is not there; what has ended is settled later.
        """
        self._reap()
        if self._ended or len(self._waiting) < self._sending.concurrency_max:
            await self._settle_and_claim()
        now = self._clock.now()
        while self._waiting and len(self._under_way) < self._sending.concurrency_max:
            delivery = self._waiting.popleft()
            if (delivery.until - now).total_seconds() >= self._sending.attempt_s:
                task = asyncio.create_task(self._attempt(delivery), name=delivery.id)
                task.add_done_callback(lambda _: self._told.set())
                self._under_way[task] = delivery

    def _reap(self) -> None:
        for task in [t for t in self._under_way if t.done()]:
            del self._under_way[task]
            self._ended.append(task.result())

    async def _settle_and_claim(self) -> None:
        now = self._clock.now()
        until = now + timedelta(seconds=self._sending.lease_s)
        room = len(self._waiting) < self._sending.concurrency_max
        async with unit_of_work(self._engine) as work:
            await self._deliveries.settle(work, self._ended)
            claimed = (
                await self._deliveries.claim(work, self._sending.endpoints, now, until, CLAIM_MAX)
                if room
                else []
            )
        _count(self._ended)
        gone = {a.delivery.endpoint_id for a in self._ended if a.outcome == "gone"}
        for endpoint in gone:
            log.error("endpoint disabled: it answered 410 Gone", endpoint=endpoint)
        self._waiting = deque(d for d in self._waiting if d.endpoint_id not in gone)
        self._ended = []
        self._waiting.extend(claimed)

    async def _attempt(self, delivery: Leased) -> Attempted:
        started_at = self._clock.now()
        answer = await self._outbound.send(delivery, started_at)
        ended_at = self._clock.now()
        follows = after(
            answer, delivery.id, delivery.attempts + 1, ended_at, self._sending.delays_s
        )
        next_at = None if follows.delay_s is None else ended_at + timedelta(seconds=follows.delay_s)
        return Attempted(delivery, started_at, ended_at, answer, follows.outcome, next_at)

    async def _drain(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=DRAIN_S)
        self._reap()
        for task in self._under_way:
            task.cancel()
        back = [*self._waiting, *self._under_way.values()]
        await asyncio.gather(*self._under_way, return_exceptions=True)
        try:
            async with unit_of_work(self._engine) as work:
                await self._deliveries.settle(work, self._ended)
                await self._deliveries.release(work, back, self._clock.now())
        except Transient as trouble:
            log.warning("leases are left to run out", loop=NAME, trouble=str(trouble))


def _count(ended: Sequence[Attempted]) -> None:
    for attempt in ended:
        endpoint = attempt.delivery.endpoint_id
        metrics.DELIVERIES.labels(endpoint, attempt.outcome).inc()
        metrics.ATTEMPT_S.labels(endpoint).observe(attempt.answer.duration_ms / 1000)
        if attempt.outcome == "delivered" and attempt.delivery.received_ms:
            metrics.DELIVERY_LATENCY_S.observe(_age_s(attempt.ended_at, attempt.delivery))


def _age_s(at: datetime, delivery: Leased) -> float:
    return at.timestamp() - delivery.received_ms / 1000
