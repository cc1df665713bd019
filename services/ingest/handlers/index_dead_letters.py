"""Use case: stores dead letters of every service as rows that an operator can list and replay.

They are stored in one transaction with the consumed offsets; a dead letter that arrives twice is
stored once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.core.dead_letters import ReadLetter, read, subject_of, without_content
from services.ingest.ports import DeadLetterIndex
from services.ingest.store.erasure import WHY
from shared.contracts.dead_letter import DeadLetter
from shared.kafka.batch import Batch
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.erasures import Erasures
from shared.postgres.ledger import Ledger, Move
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class IndexDeadLetters:
    """The handler of the dead-letter topic's consumer."""

    engine: AsyncEngine
    ledger: Ledger
    index: DeadLetterIndex
    erasures: Erasures
    clock: Clock
    observe: Callable[[str], None]
    """Called with the stage of every stored letter."""

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Store every record of the batch; raises Transient or Fenced."""
        if not batch:
            return []
        letters = [
            read(r.key, r.value, tuple(r.headers), (r.topic, r.partition, r.offset))
            for records in batch.records.values()
            for r in records
        ]
        moves = [batch.move(tp, len(records), {}) for tp, records in batch.records.items()]
        async with unit_of_work(self.engine) as work:
            letters = await self._without_erased(work, letters)
            await self.index.add(work, letters, self.clock.now())
            await self.ledger.advance(work, moves)
        for found in letters:
            self.observe(found.letter.stage)
        return moves

    async def _without_erased(
        self, work: UnitOfWork, letters: Sequence[ReadLetter]
    ) -> list[ReadLetter]:
        """Return the letters, without the content of those from before the customer's erasure."""
        named = [_customers(each.letter) for each in letters]
        erased = await self.erasures.marked(work, set().union(*named))
        return [
            without_content(each, WHY)
            if any(name in erased and _older(each, erased[name]) for name in names)
            else each
            for names, each in zip(named, letters, strict=True)
        ]


def _customers(letter: DeadLetter) -> set[str]:
    """Returns the customers that a letter may be about: by its key, and by its subject."""
    key = (letter.key or b"").decode(errors="replace")
    return {key, subject_of(letter.value, letter.original_headers) or ""} - {""}


def _older(read: ReadLetter, erased_at: datetime) -> bool:
    """Returns whether a letter is older than the erasure; one without a time is."""
    return (read.letter.arrived_ms or 0) < erased_at.timestamp() * 1000
