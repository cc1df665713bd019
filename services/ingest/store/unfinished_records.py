"""What of the raw topics was begun: `Unfinished`, without holding up the intake.

The intake goes on while PostgreSQL is away: what cannot be noted is not, and a death in that time
is put down to nothing. A process that starts has been answered before (`FloodWatch`).
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
"""How long a note may take, in seconds: 20 of them after each claim stay below what `/livez` bears
also where PostgreSQL is frozen."""

log = structlog.get_logger(__name__)


class UnfinishedRecords:
    """Implements `raw_quarantine.Marks`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._rows = Unfinished(engine, SCHEMA)

    async def read(self, tps: Sequence[Tp]) -> dict[Tp, Begun]:
        """What was begun of these; nothing while PostgreSQL is away."""
        async with _if_there("read"):
            return await self._rows.read(tps)
        return {}

    async def begin(self, begun: Sequence[Begun]) -> None:
        """Note what is about to begin."""
        async with _if_there("begin"):
            await self._rows.begin(begun)

    async def alive(self, by: str) -> None:
        """What this process noted did not end it."""
        async with _if_there("alive"):
            await self._rows.alive(by)

    async def finished(self, moved: Mapping[Tp, int]) -> None:
        """Kafka has these offsets. Where the process ends before, its successor begins behind what
        the note names, and so sees that it was finished."""
        async with _if_there("finished"):
            async with unit_of_work(self._engine) as work:
                await self._rows.clear(work, moved)
            self._rows.done([*moved])

    def done(self, tps: Sequence[Tp]) -> None:
        """`finished` has said so already."""


@asynccontextmanager
async def _if_there(step: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(NOTE_S_MAX):
            yield
    except (Transient, TimeoutError) as trouble:
        log.warning("not noted", step=step, trouble=str(trouble) or type(trouble).__name__)
