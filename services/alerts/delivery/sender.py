"""Sends deliveries from the queue to their endpoints: lease, commit, send, settle.

To settle is to store the outcome: delivered, failed, or the time of the next attempt. No
transaction is open while a request is under way. A crash between sending and settling sends again,
with the same id; a worker with an expired lease cannot settle.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import structlog
from opentelemetry.trace import Span
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.delivery.attempt import AttemptResult, attempt
from services.alerts.delivery.core.retry import Answer, Next, after
from services.alerts.delivery.endpoint_queues import EndpointQueue, EndpointQueues
from services.alerts.delivery.ports import Attempted, Connectors, Leased
from services.alerts.delivery.quarantine import QUARANTINED, DeliveryQuarantine
from services.alerts.delivery.store.deliveries import Deliveries
from services.alerts.delivery.store.endpoints import Endpoints
from shared.kernel.errors import Transient
from shared.observability import messaging, tracing
from shared.postgres.engine import UnitOfWork, reading, unit_of_work
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

DRAIN_S = 5.0
"""Seconds that requests under way may take once the service is to end; it has 8 s in all."""

FAULTS_MAX = 3
"""Attempts with a fault of ours until a delivery is given up: the fault may be temporary, so the
attempt is repeated; at the third or a later attempt it is given up, with the reason."""

NAME = "deliver"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SenderBounds:
    """Bounds of the sender."""

    concurrency_max: int
    """Most requests under way at once to one endpoint, whatever the endpoint's own setting."""
    timeout_s: float
    """Bound of one attempt as a whole, in seconds."""
    margin_s: float
    """Seconds from the end of an attempt to the commit that records it, at worst."""
    lease_s: float
    poll_s: float
    delays_s: Sequence[float]


class DeliverySender:
    """The sender's loop: one per process, safe beside those of others."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        deliveries: Deliveries,
        endpoints: Endpoints,
        connectors: Connectors,
        sending: SenderBounds,
        clock: Clock,
        health: Health,
        deliveries_queued: asyncio.Event,
    ) -> None:
        self._engine = engine
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._connectors = connectors
        self._sending = sending
        self._clock = clock
        self._health = health
        self._deliveries_queued = deliveries_queued
        self._queues = EndpointQueues(sending.concurrency_max)
        self._ended: list[Attempted] = []
        self._back: list[Leased] = []
        self._bug: Exception | None = None
        self._quarantine = DeliveryQuarantine()
        self._draining = False

    async def __call__(self, stop: Stop) -> None:
        """Run until `stop`, then let requests under way end and give back the rest."""
        queued = self._deliveries_queued
        queued.set()  # a former process may have left some

        async def once() -> None:
            announced = queued.is_set()
            queued.clear()
            await self.iterate(announced=announced)

        await repeat(once, stop, NAME, self._sending.poll_s, health=self._health, signal=queued)
        await self._drain()

    async def iterate(self, *, announced: bool = True) -> None:
        """Settle what has ended, claim what is due, start what there is capacity for.

        `announced`: a handler of this process has queued deliveries, or an attempt has ended; if
        not, the tables are checked first, since another process may have queued some.
        Raises Transient when PostgreSQL cannot be reached; what has ended is settled later.
        """
        if self._bug is not None:
            raise self._bug
        self._back += self._queues.opened(self._clock.now())
        if announced or self._ended or self._back or await self._work_found():
            try:
                await self._settle_and_claim()
            except Transient:
                raise
            except Exception:
                if not self._ended:
                    raise
                log.exception("outcomes cannot be stored: one by one", loop=NAME)
                await self._settle_each()
        self._start_alone()
        for queue in self._queues:
            self._start(queue)

    async def _work_found(self) -> bool:
        """Return whether something is due that fits, or the endpoints have changed.

        Most checks find nothing: they cost one statement and no transaction.
        """
        now = self._clock.now()
        with_room = [queue.endpoint.id for queue in self._queues if queue.room(now)]
        async with reading(self._engine) as driver:
            versions, due = await self._deliveries.look(driver, with_room, now)
        return due or versions != {
            queue.endpoint.id: queue.endpoint.version for queue in self._queues
        }

    def _start(self, queue: EndpointQueue) -> None:
        """Start what a queue has capacity for; nothing beside a delivery to be sent alone."""
        if self._quarantine:
            return
        for delivery in queue.startable(self._clock.now(), self._attempt_s):
            self._begin(queue, delivery)

    def _start_alone(self) -> None:
        """Start the delivery that is to be sent alone, once nothing else is under way."""
        delivery = self._quarantine.waiting
        if delivery is None or any(queue.under_way for queue in self._queues):
            return
        queue = self._queues.get(delivery.endpoint_id)
        left_s = (delivery.until - self._clock.now()).total_seconds()
        if queue is None or left_s < self._attempt_s:
            self._back.append(delivery)
            self._quarantine.waiting = None
        else:
            self._quarantine.begin(self._begin(queue, delivery, alone=True))

    def _begin(
        self, queue: EndpointQueue, delivery: Leased, *, alone: bool = False
    ) -> asyncio.Task[Attempted]:
        task = asyncio.create_task(self._attempt(queue, delivery, alone=alone), name=delivery.id)
        queue.under_way[task] = delivery
        task.add_done_callback(partial(self._attempted, queue))
        return task

    @property
    def _attempt_s(self) -> float:
        return self._sending.timeout_s + self._sending.margin_s

    def _attempted(self, queue: EndpointQueue, task: asyncio.Task[Attempted]) -> None:
        """Handle an ended attempt: start the next of its queue at once; it is settled soon."""
        self._deliveries_queued.set()
        self._quarantine.ended(task)
        if task.cancelled():
            return
        try:
            attempted = queue.ended(task)
        except Exception as bug:  # noqa: BLE001 (raised where it ends the process)
            self._bug = bug
            return
        self._ended.append(attempted)
        if attempted.outcome == "gone":
            self._back += queue.waiting
            queue.waiting.clear()
        if not self._draining:
            self._start_alone()
            self._start(queue)

    async def _settle_and_claim(self) -> None:
        now = self._clock.now()
        ended = list(self._ended)
        async with unit_of_work(self._engine) as work:
            disabled = await self._deliveries.settle(work, ended)
            self._back += self._queues.update(await self._endpoints.sendable(work))
            back = list(self._back)
            await self._deliveries.release(work, back, now)
            claimed = await self._claim(work, now)
        # More attempts may have ended, and more deliveries been returned, meanwhile.
        del self._ended[: len(ended)]
        del self._back[: len(back)]
        _count(ended, disabled)
        for endpoint, state in self._queues.states(now).items():
            metrics.BREAKER_OPEN.labels(endpoint).set(state != "closed")
        sifted = self._quarantine.sift(claimed)
        self._back += sifted.later
        self._ended += [self._quarantined(delivery, now) for delivery in sifted.fatal]
        self._queues.accept(sifted.usual)

    async def _settle_each(self) -> None:
        """Settle outcomes one by one; one that cannot be stored fails its delivery.

        The stored reason is then only the fault's type. Raises if even that cannot be stored.
        """
        for attempted in list(self._ended):
            try:
                await self._settle_one(attempted)
            except Transient:
                raise
            except Exception as fault:
                log.exception("outcome cannot be stored", delivery=attempted.delivery.id)
                why = f"its outcome could not be stored, see the log: {type(fault).__name__}"
                bare = Answer("permanent", error=why)
                failed = replace(attempted, answer=bare, outcome="failed", next_at=None)
                await self._settle_one(failed)
            self._ended.remove(attempted)

    async def _settle_one(self, attempted: Attempted) -> None:
        async with unit_of_work(self._engine) as work:
            disabled = await self._deliveries.settle(work, [attempted])
        _count([attempted], disabled)

    def _quarantined(self, delivery: Leased, at: datetime) -> Attempted:
        """Fail a delivery on which several processes ended although it was sent alone.

        It is not sent any more, until an operator sends it again.
        """
        log.error("delivery quarantined", endpoint=delivery.endpoint_id, delivery=delivery.id)
        metrics.DELIVERIES_QUARANTINED.labels(delivery.endpoint_id).inc()
        answer = Answer("permanent", error=QUARANTINED)
        return Attempted(delivery, at, at, answer, "failed", None, uncertain=True)

    async def _claim(self, work: UnitOfWork, now: datetime) -> list[Leased]:
        room = {queue.endpoint.id: queue.room(now) for queue in self._queues}
        rated = {
            queue.endpoint.id: room[queue.endpoint.id]
            for queue in self._queues
            if queue.endpoint.rate_per_s is not None and room[queue.endpoint.id]
        }
        granted = await self._endpoints.take(work, rated, now) if rated else {}
        most = {name: n for name, n in {**room, **granted}.items() if n}
        if not most:
            return []
        until = now + timedelta(seconds=self._sending.lease_s)
        claimed = await self._deliveries.claim(work, most, now, until)
        got = Counter(delivery.endpoint_id for delivery in claimed)
        unused = {name: n - got[name] for name, n in granted.items() if n > got[name]}
        await self._endpoints.give_back(work, unused)
        return claimed

    async def _attempt(self, queue: EndpointQueue, delivery: Leased, *, alone: bool) -> Attempted:
        started_at, timeout_s = self._clock.now(), self._sending.timeout_s
        try:
            if alone:
                async with unit_of_work(self._engine) as work:
                    await self._deliveries.begin_alone(work, delivery)
            with _traced(delivery) as span:
                result = await attempt(
                    self._connectors, queue.endpoint, delivery, started_at, timeout_s
                )
                span.set_attribute(messaging.OUTCOME, result.answer.result)
                if result.answer.result != "ok":
                    tracing.failed(span, result.answer.result)
        except Transient as trouble:
            waits = Answer("retry", error=f"waiting for PostgreSQL: {trouble}")
            result = AttemptResult(waits, delivery.uncertain)
        ended_at, number = self._clock.now(), delivery.attempts + 1
        follows = after(result.answer, delivery.id, number, ended_at, self._sending.delays_s)
        if result.fault and number >= FAULTS_MAX:
            follows = Next("failed")
        next_at = None if follows.delay_s is None else ended_at + timedelta(seconds=follows.delay_s)
        return Attempted(
            delivery,
            started_at,
            ended_at,
            result.answer,
            follows.outcome,
            next_at,
            result.uncertain,
        )

    async def _drain(self) -> None:
        self._draining = True
        tasks = [task for queue in self._queues for task in queue.under_way]
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_S)
        back = self._back + self._quarantine.given_back()
        for queue in self._queues:
            back = [*back, *queue.waiting, *queue.late, *queue.under_way.values()]
            for task in queue.under_way:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with unit_of_work(self._engine) as work:
                await self._deliveries.settle(work, self._ended)
                await self._deliveries.release(work, back, self._clock.now())
        except Transient as trouble:
            log.warning("leases are left to run out", loop=NAME, trouble=str(trouble))


def _traced(delivery: Leased) -> AbstractContextManager[Span]:
    """Returns the span of an attempt, within which requests carry its context."""
    said: dict[str, str | int] = {
        messaging.ENDPOINT: delivery.endpoint_id,
        messaging.DELIVERY: delivery.id,
        messaging.ATTEMPT: delivery.attempts + 1,
    }
    return tracing.attempting(f"send {delivery.kind}", delivery.traceparent, said)


def raise_alarm(disabled: Mapping[str, str]) -> None:
    """Report which endpoints were switched off, and why."""
    for endpoint, reason in disabled.items():
        metrics.ENDPOINTS_DISABLED.labels(endpoint).inc()
        log.error("endpoint disabled", endpoint=endpoint, reason=reason)


def _count(ended: Sequence[Attempted], disabled: Mapping[str, str]) -> None:
    raise_alarm(disabled)
    for attempted in ended:
        endpoint = attempted.delivery.endpoint_id
        metrics.DELIVERIES.labels(endpoint, attempted.outcome).inc()
        metrics.ATTEMPT_S.labels(endpoint).observe(attempted.answer.duration_ms / 1000)
        if attempted.outcome == "delivered" and attempted.delivery.received_ms:
            metrics.DELIVERY_LATENCY_S.observe(_age_s(attempted.ended_at, attempted.delivery))


def _age_s(at: datetime, delivery: Leased) -> float:
    return at.timestamp() - delivery.received_ms / 1000
