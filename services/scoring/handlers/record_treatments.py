"""Stores treatments of customers, for training and to judge the warnings.

Treatments change no state and no score. The same fact received twice is stored once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.scoring import metrics
from services.scoring.store.treatments import Treatments
from shared.contracts.treatment import TreatmentRecorded
from shared.kafka.batch import Batch
from shared.kafka.transaction import BatchTransactions
from shared.postgres.erasures import Erasures
from shared.postgres.ledger import Move
from shared.postgres.outbox import Message

Decode = Callable[[Batch], tuple[list[TreatmentRecorded], list[Message]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTreatments:
    """Handles batches of `ebbwatch.treatment`."""

    transactions: BatchTransactions
    decode: Decode
    treatments: Treatments
    erasures: Erasures

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Stores a batch's treatments; returns the offsets committed with them."""
        if not batch:
            return []
        facts, dead = self.decode(batch)
        moves = batch.moves()
        async with self.transactions.open(moves) as transaction:
            erased = await self.erasures.of_older(
                transaction.work, ((f.customer_id, f.at) for f in facts)
            )
            facts = [
                f for f in facts if f.customer_id not in erased or f.at >= erased[f.customer_id]
            ]
            await self.treatments.add(transaction.work, facts)
            transaction.messages += dead
        for fact in facts:
            metrics.TREATMENTS.labels(fact.kind).inc()
        metrics.DEAD_LETTERS.inc(len(dead))
        await transaction.send()
        return moves
