"""Notes which raw records were begun: `Unfinished`, without delaying the intake.

The intake goes on while PostgreSQL is unreachable: nothing is noted then, and a crash in that time
is attributed to no record. A process that starts has read PostgreSQL before (`FloodWatch`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store.tables import SCHEMA
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.unfinished import Begun, Unfinished

NOTE_S_MAX: Final = 2.0
"""How long a note may take, in seconds: 20 of them after each claim stay below the limit of
`/livez` even when PostgreSQL hangs."""

log = structlog.get_logger(__name__)


class UnfinishedRecords:
    """Implements `raw_quarantine.Marks`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._rows = Unfinished(engine, SCHEMA)

    async def read(self, tps: Sequence[Tp]) -> dict[Tp, Begun]:
        """Return what was begun of these; nothing while PostgreSQL is unreachable."""
        async with _if_there("read"):
            return await self._rows.read(tps)
        return {}

    async def begin(self, begun: Sequence[Begun]) -> None:
        """Note what is about to begin."""
        async with _if_there("begin"):
            await self._rows.begin(begun)

    async def alive(self, by: str) -> None:
        """Note that this process survived what it noted."""
        async with _if_there("alive"):
            await self._rows.alive(by)

    async def finished(self, moved: Mapping[Tp, int]) -> None:
        """Delete the notes before these offsets, which Kafka has committed.

        If the process ends before, its successor begins behind what the note names, and so
        recognises that it was finished.
        """
        async with _if_there("finished"):
            async with unit_of_work(self._engine) as work:
                await self._rows.clear(work, moved)
            self._rows.done([*moved])

    def done(self, tps: Sequence[Tp]) -> None:
        """Does nothing: `finished` has already done it."""


@asynccontextmanager
async def _if_there(step: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(NOTE_S_MAX):
            yield
    except (Transient, TimeoutError) as trouble:
        log.warning("not noted", step=step, trouble=str(trouble) or type(trouble).__name__)
