"""The loop of every fenced consumer: poll, handle in one transaction, move on.

Transient trouble pauses the partitions and reads the stored offsets anew (the outcome of an
interrupted COMMIT is never guessed); a fence drops the lost partitions; a bug ends the process, and
a record that causes it repeatedly is set aside (`quarantine`).
"""

import asyncio
from collections.abc import Awaitable, Sequence

import structlog

from shared.kafka.batch import Batch
from shared.kafka.fenced import FencedConsumer
from shared.kafka.quarantine import Handle, Quarantine
from shared.kernel.errors import Transient
from shared.observability import tracing
from shared.postgres.ledger import Fenced, Move
from shared.runtime.backoff import Backoff
from shared.runtime.health import Health
from shared.runtime.service import Stop

log = structlog.get_logger(__name__)


async def work(
    consumer: FencedConsumer,
    handle: Handle,
    quarantine: Quarantine,
    stop: Stop,
    health: Health,
    name: str,
) -> None:
    """Runs until `stop`; leaves the group at the end."""
    backoff = Backoff()
    try:
        while not stop:
            health.beat(name)
            try:
                batch = await _unless(stop, _read(consumer))
                if batch is None or not batch.claims:
                    continue
                try:
                    moves = await quarantine(batch, traced(handle))
                except Fenced as fenced:
                    log.warning("fenced", lost=sorted(fenced.lost))
                    await quarantine.survived()
                    consumer.fenced(batch, fenced.lost)
                    continue
                consumer.moved(batch, moves)
                backoff.reset()
            except Transient as trouble:
                wait = backoff.next()
                log.warning("waiting", loop=name, trouble=str(trouble), wait_s=wait)
                await quarantine.survived()
                consumer.reclaim()
                await stop.wait(wait)
    finally:
        health.ended(name)
        await consumer.close()


def traced(handle: Handle) -> Handle:
    """Returns a handler that does the same, within a span of the batch."""

    async def handled(batch: Batch) -> Sequence[Move]:
        records = [record for found in batch.records.values() for record in found]
        topic = next((tp[0] for tp in batch.records or batch.claims), "")
        with tracing.processing(topic, records) as span:
            moves = await handle(batch)
            if records or moves:
                span.end()
        return moves

    return handled


async def _read(consumer: FencedConsumer) -> Batch:
    if not consumer.started:
        await consumer.start()
    return await consumer.poll()


async def _unless(stop: Stop, reading: Awaitable[Batch]) -> Batch | None:
    """Returns the batch, or None on `stop`: a read lasts as long as the group rejoins.

    Cancelling the library's read is safe only here, where the member is discarded afterwards.
    """
    both = asyncio.ensure_future(reading), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return both[0].result() if both[0].done() else None
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
