"""Use case: stores dead letters of every service as rows that an operator can list and replay.

They are stored in one transaction with the consumed offsets; a dead letter that arrives twice is
stored once.
"""

from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.core.dead_letters import read
from services.ingest.ports import DeadLetterIndex
from shared.kafka.batch import Batch
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.runtime.clock import Clock


class IndexDeadLetters:
    """The handler of the dead-letter topic's consumer."""

    def __init__(
        self,
        engine: AsyncEngine,
        ledger: Ledger,
        index: DeadLetterIndex,
        clock: Clock,
        observe: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._index = index
        self._clock = clock
        self._observe = observe
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
        async with unit_of_work(self._engine) as work:
            await self._index.add(work, letters, self._clock.now())
            await self._ledger.advance(work, moves)
        for found in letters:
            self._observe(found.letter.stage)
        return moves
