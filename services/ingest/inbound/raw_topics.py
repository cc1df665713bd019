"""The loop of the raw topics: read, accept, send, commit; paused in a flood of refused records.

While one batch is being sent, the next is read and decided on. It is sent only once the first is
acknowledged and committed, so that order is kept and no offset is committed past a record that is
not acknowledged. After any trouble records are read again, from the earliest unfinished one;
duplicates are recognised by their id. The first batches after a claim are processed one after
another and noted (`RawQuarantine`): a process that restarts after a crash finds the notes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from opentelemetry.trace import Span

from services.ingest import metrics
from services.ingest.handlers.accept_batch import AcceptBatch, DecidedBatch
from services.ingest.handlers.use_mappings import UseMappings
from services.ingest.handlers.watch_flood import FloodWatch
from services.ingest.inbound.raw_consumer import RawConsumer
from services.ingest.inbound.raw_quarantine import Marks, RawQuarantine
from shared.kafka.batch import ConsumedRecord
from shared.kernel.errors import Transient
from shared.observability import tracing
from shared.runtime.backoff import Backoff
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)

NAME = "raw"

HOLD_S = 1.0
"""Seconds between checks of whether an operator has ended the stop after a flood."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch that is being sent and committed."""

    records: list[ConsumedRecord]
    decided: DecidedBatch
    task: asyncio.Task[None]


class RawTopics:
    """The loop `consume`, and the readiness checks of the raw topics."""

    def __init__(
        self,
        consumer: RawConsumer,
        accept: AcceptBatch,
        flood: FloodWatch,
        health: Health,
        clock: Clock,
        marks: Marks | None = None,
        mappings: UseMappings | None = None,
    ) -> None:
        """`marks` stores notes on batches begun; None: a crash is attributed to no record.

        `mappings` names the topics of sources with a mapping; None: there are none.
        """
        self._consumer = consumer
        self._accept = accept
        self._flood = flood
        self._health = health
        self._clock = clock
        self._mappings = mappings
        self._flight: _Flight | None = None
        """At most one, beside the batch that is being decided on. A second would have to be sent
        before the first is acknowledged, and only one wait is to be saved, not two."""
        self._care = (
            None
            if marks is None
            else RawQuarantine(consumer, accept, marks, self._now_ms, self._done)
        )
        health.add_check("broker", consumer.unreachable)
        health.add_check("partitions", self._unassigned)
        health.add_check("intake", self._stopped)

    async def consume(self, stop: Stop) -> None:
        """Run until `stop`, then finish the batches at hand."""
        backoff = Backoff()
        try:
            while not stop or self._flight is not None:
                self._health.beat(NAME)
                try:
                    await (self._landed() if stop else self._iteration(stop))
                    backoff.reset()
                except Transient as trouble:
                    wait = backoff.next()
                    log.warning("waiting", loop=NAME, trouble=str(trouble), wait_s=wait)
                    await stop.wait(wait)
        finally:
            # After a bug, or when it took too long: the next owner reads the batch again.
            if self._flight is not None:
                self._flight.task.cancel()
                await asyncio.wait({self._flight.task})
            self._health.ended(NAME)
            await self._consumer.close()

    async def _iteration(self, stop: Stop) -> None:
        if self._mappings is not None:
            topics = await self._mappings.topics(self._consumer.missing)
            if self._consumer.topics != topics:
                await self._landed()
                self._consumer.subscribe(topics)
        if not self._consumer.started:
            await self._landed()
            await self._consumer.start()
        if await self._flood.blocked():
            metrics.STOPPED.set(1)
            await self._consumer.hold()
            await stop.wait(HOLD_S)
            return
        metrics.STOPPED.set(0)
        self._consumer.release()
        records = await self._consumer.poll()
        began_s, stage = self._clock.monotonic(), metrics.SERVICE.timed()
        if not records:
            await self._landed()
            await self._consumer.commit_read()
            return
        if self._care is not None and self._care.watches(records):
            await self._landed(records)
            await self._care.work(records, lambda: bool(stop) or self._flood.reason is not None)
            return
        span = tracing.begun(records[0].topic, records)
        try:
            with tracing.current(span):
                decided = await self._accept.decide(records, self._now_ms())
        except Transient:
            self._consumer.rewind(records)
            raise
        stage("decide")
        await self._landed(records)
        stage("wait")
        if self._flood.reason is not None:
            self._consumer.rewind(records)
            return
        task = asyncio.create_task(
            self._finish(records, decided, began_s, stage, span), name=f"{NAME}-flight"
        )
        self._flight = _Flight(records, decided, task)

    async def _finish(
        self,
        records: list[ConsumedRecord],
        decided: DecidedBatch,
        began_s: float,
        stage: Callable[[str], None],
        span: Span,
    ) -> None:
        with tracing.current(span):
            await self._accept.deliver(decided)
            stage("send")
            await self._consumer.commit(records)
            stage("commit")
        span.end()
        metrics.BATCH_SECONDS.observe(self._clock.monotonic() - began_s)

    async def _landed(self, behind: Sequence[ConsumedRecord] = ()) -> None:
        """Wait for the batch being sent.

        If it failed, it and what was read `behind` it are read again, from the earlier of the two
        on.
        """
        flight = self._flight
        if flight is None:
            return
        # If this wait is cancelled, `consume` handles the task.
        await asyncio.wait({flight.task})
        self._flight = None
        try:
            flight.task.result()
        except Transient:
            self._consumer.rewind([*flight.records, *behind])
            raise
        self._done(flight.records, flight.decided)

    def _done(self, records: Sequence[ConsumedRecord], decided: DecidedBatch) -> None:
        """Record that these were committed: health, flood window, metrics."""
        self._health.beat(NAME)
        self._flood.note(decided.refused)
        now_s = self._clock.now().timestamp()
        ages = [now_s - timing.at_s for timing in decided.timings]
        metrics.SERVICE.event_latency.observe(ages)
        for event_type, count in decided.accepted.items():
            metrics.ACCEPTED.labels(event_type).inc(count)
        for note in decided.notes:
            metrics.NOTED.labels(metrics.field_label(note.field)).inc()
        for mapping, count in decided.ignored.items():
            metrics.IGNORED.labels(mapping).inc(count)
        for letter in decided.letters:
            label = metrics.field_label(letter.field)
            metrics.DEAD_LETTERS.labels(letter.stage, label).inc()
            with tracing.about(letter.original_headers):
                log.info("refused", origin=str(letter.origin), field=letter.field)

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def _unassigned(self) -> str | None:
        return None if self._consumer.assigned else "no partitions are assigned yet"

    async def _stopped(self) -> str | None:
        return self._flood.reason
