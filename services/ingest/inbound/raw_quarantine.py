"""Processes raw batches one after another, so that a record that ends processes is found.

`Quarantine` decides which records are processed alone and which one is set aside. Unlike the other
topics, the offset is Kafka's, so the note is deleted after the commit and not within it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from services.ingest import metrics
from services.ingest.handlers.accept_batch import AcceptBatch, DecidedBatch
from services.ingest.inbound.raw_consumer import RawConsumer
from shared.kafka import quarantine
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.worker import traced
from shared.kernel.errors import Transient
from shared.postgres.ledger import Claim, Move
from shared.postgres.ledger import TopicPartition as Tp


class Marks(quarantine.Marks, Protocol):
    """Stores notes on what was begun and what is done."""

    async def finished(self, moved: Mapping[Tp, int]) -> None:
        """Delete the notes before these offsets, which Kafka has committed."""
        ...


class RawQuarantine:
    """The careful path of one consumer loop. `done` is called with what was committed."""

    def __init__(
        self,
        consumer: RawConsumer,
        accept: AcceptBatch,
        marks: Marks,
        now_ms: Callable[[], int],
        done: Callable[[Sequence[ConsumedRecord], DecidedBatch], None],
    ) -> None:
        self._consumer = consumer
        self._accept = accept
        self._marks = marks
        self._now_ms = now_ms
        self._done = done
        self._quarantine = quarantine.Quarantine(marks, self._park)
        self._ours: set[Tp] = set()
        self._epochs: dict[Tp, int] = {}
        """How often each partition has been assigned to this member."""

    def watches(self, records: Sequence[ConsumedRecord]) -> bool:
        """Return whether these records are to be processed here."""
        ours = self._consumer.assigned
        for tp in ours - self._ours:
            self._epochs[tp] = self._epochs.get(tp, 0) + 1
        self._ours = ours
        return self._quarantine.watches(self._batch(records))

    async def work(self, records: Sequence[ConsumedRecord], ended: Callable[[], bool]) -> None:
        """Process each record until `ended`; the rest is read again. Raises Transient."""
        rest = list(records)
        try:
            while rest and not ended():
                moves = await self._quarantine(self._batch(rest), traced(self._handle))
                reached = _reached(moves)
                rest = [r for r in rest if r.offset >= reached.get((r.topic, r.partition), 0)]
        except Transient:
            await self._quarantine.survived()
            raise
        finally:
            if rest:
                self._consumer.rewind(rest)

    def _batch(self, records: Sequence[ConsumedRecord]) -> Batch:
        found: dict[Tp, list[ConsumedRecord]] = {}
        for record in records:
            found.setdefault((record.topic, record.partition), []).append(record)
        claims = {
            tp: Claim(*tp, self._epochs.get(tp, 0), of[0].offset, None) for tp, of in found.items()
        }
        return Batch(claims, found, {})

    async def _handle(self, part: Batch) -> Sequence[Move]:
        records = [record for of in part.records.values() for record in of]
        return await self._finish(part, await self._accept.decide(records, self._now_ms()))

    async def _park(self, part: Batch, record: ConsumedRecord) -> Sequence[Move]:
        metrics.QUARANTINED.labels(record.topic).inc()
        return await self._finish(part, self._accept.refuse(record, quarantine.REASON))

    async def _finish(self, part: Batch, decided: DecidedBatch) -> Sequence[Move]:
        records = [record for of in part.records.values() for record in of]
        moves = part.moves()
        await self._accept.deliver(decided)
        await self._consumer.commit(records)
        await self._marks.finished(_reached(moves))
        self._done(records, decided)
        return moves


def _reached(moves: Sequence[Move]) -> dict[Tp, int]:
    return {move.claim.tp: move.next_offset or 0 for move in moves}
