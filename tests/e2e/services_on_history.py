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
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import numpy as np
from numpy.typing import NDArray

from deploy.demo.backlog import ALERTS, INGEST, SCORING, Backlog
from deploy.demo.dataset import BACKFILL_END, PanelHistory
from deploy.demo.figures import Received
from deploy.demo.replayer import Replayer, days
from deploy.demo.run import TASK_CHANGES, Crm
from deploy.demo.services import CRM, NAMES, DatabaseUrls, Services
from deploy.local import topics
from deploy.local.stack import ROOT, LocalStack
from services.scoring.core.features import state
from shared.kafka.producer import Producer
from shared.postgres.roles import OWNER, RUNTIME, script
from shared.runtime.clock import SystemClock

SETTLED_S_MAX = 120.0
"""A killed consumer's partitions are reassigned after 10 s; the rest is work."""

TASKS = """
    SELECT customer_id, id, cause, episode, status, version, owner_id, language, band,
           horizon_days, revision, opened_at, due_at, closed_at, close_reason
      FROM alerts.task ORDER BY customer_id, id
"""
"""Columns that are the same in every run: without wall-clock times and floats' last digits."""


FIRST_BASE_S = 86_400.0
"""No base is measured within a test: it makes customers due at a moment of the wall clock, so that
two runs would assess them at different business times."""


async def database_roles(url: str) -> dict[str, DatabaseUrls]:
    """Make the roles of every service, as an administrator; return their URLs by service."""
    made = {}
    connection = await asyncpg.connect(url)
    try:
        for name in NAMES:
            await connection.execute(script(name))
            urls = []
            for role in (OWNER.format(schema=name), RUNTIME.format(schema=name)):
                await connection.execute(f"ALTER ROLE {role} PASSWORD 'test'")
                parts = urlsplit(url)
                place = f"{role}:test@{parts.hostname}:{parts.port}"
                urls.append(urlunsplit(parts._replace(netloc=place)))
            made[name] = DatabaseUrls(*urls)
    finally:
        await connection.close()
    return made


@dataclass(slots=True)
class World:
    """Servers, services and the means to replay and to inspect."""

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
        own_roles: bool = False,
        root: Path = ROOT,
    ) -> AsyncIterator[Self]:
        """Start everything and wait until it is ready; on exit everything has ended.

        `own_roles`: each service runs with rights on its own rows only. `root`: the working copy
        that runs, on topics and tables of its own making.
        """
        with LocalStack(folder, wipe=True, environ=environ) as stack:
            kafka = stack.kafka.settings
            if root == ROOT:
                await topics.create(kafka)
            databases = await database_roles(stack.database_url) if own_roles else {}
            with Services(
                folder,
                stack.environment(),
                clock=clock,
                first_base_s=FIRST_BASE_S,
                databases=databases,
                root=root,
            ) as services:
                if root != ROOT:
                    services.module("deploy.local", "topics")
                services.prepare()
                if own_roles:
                    await database_roles(stack.database_url)
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
        """Send everything before the live part, silently; returns when it has been folded."""
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
        """Return every webhook that the CRM accepted."""
        return await self.crm.messages()

    async def states(self) -> tuple[list[str], NDArray[np.void]]:
        """Return customers in order, and scoring's state of each."""
        rows = await self._read("SELECT customer_id, state FROM scoring.customer_state ORDER BY 1")
        return [str(row[0]) for row in rows], state.from_bytes([row[1] for row in rows])

    async def tasks(self) -> list[tuple[Any, ...]]:
        """Return every retention task as `TASKS` reads it."""
        return await self._read(TASKS)

    async def _read(self, query: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()
