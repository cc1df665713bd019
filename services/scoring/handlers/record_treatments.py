"""Stores treatments of customers, for training and to judge the warnings.

Treatments change no state and no score. The same fact received twice is stored once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring import metrics
from services.scoring.ports import Sender
from services.scoring.store.treatments import Treatments
from shared.contracts.treatment import TreatmentRecorded
from shared.kafka.batch import Batch
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.postgres.outbox import Message, Outbox

Decode = Callable[[Batch], tuple[list[TreatmentRecorded], list[Message]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTreatments:
    """Handles batches of `ebbwatch.treatment`."""

    engine: AsyncEngine
    decode: Decode
    ledger: Ledger
    treatments: Treatments
    outbox: Outbox
    relay: Sender

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Stores a batch's treatments; returns the offsets committed with them."""
        if not batch:
            return []
        facts, dead = self.decode(batch)
        moves = batch.moves()
        async with unit_of_work(self.engine) as work:
            await self.ledger.advance(work, moves)
            await self.relay.forget(work)
            await self.treatments.add(work, facts)
            pending = await self.outbox.add(work, dead)
        for fact in facts:
            metrics.TREATMENTS.labels(fact.kind).inc()
        metrics.DEAD_LETTERS.inc(len(dead))
        await self.relay.flush(pending)
        return moves
