"""A small world for end-to-end tests: the real stack, the real services, a slice of history.

    async with World.open(folder, environ) as world:
        await world.load(history)
        await world.replay(history, days=20)
        await world.settled()
        world.states(), world.tasks()

No model is trained: the rule serves, which is the same in every run.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import asyncpg
import httpx
import numpy as np
from numpy.typing import NDArray

from deploy.demo.backlog import ALERTS, INGEST, SCORING, Backlog
from deploy.demo.dataset import BACKFILL_END, PanelHistory
from deploy.demo.figures import Received
from deploy.demo.replayer import Replayer, days
from deploy.demo.run import TASK_CHANGES, Crm
from deploy.demo.services import CRM, NAMES, Services
from deploy.local import topics
from deploy.local.stack import LocalStack
from services.scoring.core.features import state
from shared.kafka.producer import Producer
from shared.runtime.clock import SystemClock

SETTLED_S_MAX = 120.0
"""A killed consumer's partitions are given away after 10 s; the rest is work."""

TASKS = """
    SELECT customer_id, id, cause, episode, status, version, owner_id, language, band,
           horizon_days, revision, opened_at, due_at, closed_at, close_reason
      FROM alerts.task ORDER BY customer_id, id
"""
"""What is the same in every run: all but wall-clock times and the last digits of floats."""


FIRST_BASE_S = 86_400.0
"""Not within a test: a base, once measured, makes customers due at a moment of the wall clock, so
that two runs would look at them at different business times."""


@dataclass(slots=True)
class World:
    """Servers, services and the means to replay and to look."""

    stack: LocalStack
    services: Services
    backlog: Backlog
    replayer: Replayer
    crm: Crm
    database_url: str

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        environ: Mapping[str, str],
        *,
        clock: Literal["replay", "live"] = "replay",
    ) -> AsyncIterator[Self]:
        """Everything started and ready; everything ended when it is left."""
        with LocalStack(folder, wipe=True, environ=environ) as stack:
            kafka = stack.kafka.settings
            await topics.create(kafka)
            with Services(
                folder, stack.environment(), clock=clock, first_base_s=FIRST_BASE_S
            ) as services:
                services.prepare()
                services.start(CRM, *NAMES)
                await services.ready(CRM, *NAMES)
                async with AsyncExitStack() as opened:
                    client = await opened.enter_async_context(httpx.AsyncClient())
                    backlog = await opened.enter_async_context(Backlog(kafka))
                    producer = Producer(kafka, "world")
                    opened.push_async_callback(producer.close)
                    yield cls(
                        stack=stack,
                        services=services,
                        backlog=backlog,
                        replayer=Replayer(producer, SystemClock()),
                        crm=Crm(client, services.url(CRM)),
                        database_url=stack.database_url,
                    )

    async def load(self, history: PanelHistory) -> int:
        """Everything before the live part, silently; returns when it has been folded."""
        sent = await self.replayer.backfill(history.until(BACKFILL_END).stream())
        await self.replayer.end_backfill(BACKFILL_END)
        await self.settled()
        return sent

    async def replay(
        self,
        history: PanelHistory,
        count: int,
        between: Callable[[int], Awaitable[None]] | None = None,
    ) -> int:
        """Send `count` days, a few ahead of scoring; return the number of events.

        `between` is awaited before each day with the number of events sent so far.
        """
        sent = 0

        def note(count: int) -> None:
            nonlocal sent
            sent = count

        dealt = days(history.since(BACKFILL_END).stream(), BACKFILL_END, count)

        async def catch_up(records: int) -> None:
            if between is not None:
                await between(sent)

            async def done() -> bool:
                return await self.backlog.behind(INGEST, SCORING) <= records

            await self.services.wait(done, "scoring to keep up", SETTLED_S_MAX)

        return await self.replayer.replay(dealt, catch_up, note)

    async def settled(self) -> None:
        """Return when nothing is left to read, to decide or to deliver."""

        async def done() -> bool:
            if await self.backlog.behind(INGEST, SCORING, *ALERTS):
                return False
            changes = await self.services.counted("alerts", *TASK_CHANGES)
            return (await self.crm.stats())["accepted"] >= changes

        await self.services.wait(done, "the services to settle", SETTLED_S_MAX)

    async def received(self) -> list[Received]:
        """Every webhook that the CRM took."""
        return await self.crm.messages()

    async def states(self) -> tuple[list[str], NDArray[np.void]]:
        """Customers in order, and the state that scoring keeps of each."""
        rows = await self._read("SELECT customer_id, state FROM scoring.customer_state ORDER BY 1")
        return [str(row[0]) for row in rows], state.from_bytes([row[1] for row in rows])

    async def tasks(self) -> list[tuple[Any, ...]]:
        """Every retention task as `TASKS` reads it."""
        return await self._read(TASKS)

    async def _read(self, query: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()
