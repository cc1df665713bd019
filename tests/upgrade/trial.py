"""The upgrade and the way back, step by step, as documented (CHANGELOG.md, docs/upgrading.md)."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol

from deploy.demo.backlog import ALERTS, INGEST
from deploy.demo.dataset import BACKFILL_END, PanelHistory
from deploy.demo.services import CRM, NAMES, DemoError, Services
from deploy.local.stack import ROOT
from shared.contracts.events import INTERACTION
from shared.kafka.producer import Producer
from tests.e2e.services_on_history import World
from tests.upgrade.feed import Feed
from tests.upgrade.look import PERSON, settled

SHARED_S_MAX: Final = 30.0
"""Longest wait until the old and the new process both have work, in seconds."""
LOOK_S: Final = 0.1
GROUPS: Final = {"ingest": [INGEST.group], "alerts": [stage.group for stage in ALERTS]}
"""The consumer groups of the services that both releases share."""
OUTDATED: Final = (
    "UPDATE scoring.customer_state SET feature_set = 0",
    "UPDATE scoring.member SET feature_set = 0",
)
"""Statements of CHANGELOG.md before the older release's `rebuild`."""
LEFT: Final = """
    SELECT count(*) FROM (SELECT customer_id FROM scoring.customer_state
     UNION ALL SELECT customer_id FROM scoring.event_key
     UNION ALL SELECT customer_id FROM alerts.customer) x WHERE customer_id = $1
"""


@dataclass(slots=True)
class Trial:
    """The processes of two releases on the same servers, and the events that keep coming."""

    world: World
    old: Services
    new: Services
    admin: AIOKafkaAdminClient
    feed: Feed
    tokens: dict[str, str]
    """By service, made by the release that was there first."""
    report: Callable[[str], None]
    wrong: list[str]
    """What was not as it has to be, besides what the events' effects show."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        environ: Mapping[str, str],
        root: Path,
        history: PanelHistory,
        days: int,
        report: Callable[[str], None],
    ) -> AsyncIterator["Trial"]:
        """Start the release in `root` on fresh servers, and load the history silently."""
        for logs in ("logs", "new"):
            shutil.rmtree(folder / logs, ignore_errors=True)
        async with World.open(folder, environ, root=root) as world:
            with world.services.beside(folder / "new", ROOT) as new:
                kafka = world.stack.kafka.settings
                producer = Producer(kafka, "upgrade")
                admin = AIOKafkaAdminClient(**kafka.client_kwargs("upgrade-groups"))
                await admin.start()
                try:
                    feed = Feed(world, producer, history, days)
                    made = await asyncio.to_thread(_tokens, world.services)
                    trial = cls(world, world.services, new, admin, feed, made, report, [])
                    async with trial.step("load the history", 0):
                        await world.load(history)
                    yield trial
                finally:
                    await producer.close()
                    await admin.close()

    @asynccontextmanager
    async def step(self, name: str, days: int) -> AsyncIterator[None]:
        """Do one step while `days` of events arrive, and report how long it took."""
        began = time.monotonic()
        feeding = asyncio.create_task(self.feed.send(days))
        try:
            yield
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        self.report(f"✓ {name} ({days} days of events, {time.monotonic() - began:.1f} s)")

    async def migrate(self) -> None:
        """Let this release make what is missing of topics and tables."""
        await asyncio.to_thread(self.new.module, "deploy.local", "topics")
        async with asyncio.TaskGroup() as group:
            for name in NAMES:
                group.create_task(asyncio.to_thread(self.new.command, name, "migrate"))

    async def replace(self, name: str, days: int, by: Services, gone: Services) -> None:
        """Start the other release's process of a service beside the present one, then stop that."""
        async with self.step(f"{name}: the other release's process started beside", days):
            await self.start(name, by)
            await self._shared(name)
        async with self.step(f"{name}: both at work", days // 2):
            pass
        async with self.step(f"{name}: the one before stopped", days // 2):
            await self.stop(name, gone)

    async def start(self, name: str, services: Services) -> None:
        """Start a process and wait until it is ready."""
        await asyncio.to_thread(services.start, name)
        await services.ready(name)

    async def stop(self, name: str, services: Services) -> None:
        """End a process by SIGTERM; it must have run until then, and end well."""
        if not services.runs(name):
            self.wrong.append(f"{name} died before it was stopped: {services.logs}")
        for status in (await asyncio.to_thread(services.stop, name)).values():
            if status:
                self.wrong.append(f"{name} ended with status {status}: {services.logs}")

    async def _shared(self, name: str) -> None:
        """Wait until two processes of a service have partitions of their own in each group."""
        try:
            async with asyncio.timeout(SHARED_S_MAX):
                for group in GROUPS[name]:
                    while not await self._has_two(group):  # noqa: ASYNC110 (no event)
                        await asyncio.sleep(LOOK_S)
        except TimeoutError:
            self.wrong.append(f"{name}: the two releases never had partitions at once")

    async def _has_two(self, group: str) -> bool:
        (answer,) = await self.admin.describe_consumer_groups([group])
        _, _, state, _, _, members, *_ = answer.groups[0]
        shares = [ConsumerProtocol.ASSIGNMENT.decode(member[-1]).assignment for member in members]
        return state == "Stable" and len(shares) == 2 and all(shares)

    async def person(self, *services: Services) -> None:
        """Send one event of a person over HTTP to each of these processes of ingest."""
        event = {
            "specversion": "1.0", "id": "visit-1", "source": "/upgrade", "type": INTERACTION,
            "time": BACKFILL_END.isoformat(), "subject": PERSON, "data": {"kind": "visit"},
        }  # fmt: skip
        bearer = {"Authorization": f"Bearer {self.tokens['ingest']}"}
        async with httpx.AsyncClient() as client:
            for each in services:
                url = each.url("ingest") + "/v1/events"
                answer = await client.post(url, json=event, headers=bearer)
                if not answer.is_success:
                    self.wrong.append(f"POST /v1/events answered {answer.status_code}")

    async def erase(self, services: Services) -> None:
        """Ask that the person be forgotten."""
        await asyncio.to_thread(services.command, "ingest", "erase", PERSON)

    async def old_rebuild(self) -> str:
        """Let the older release make its states from the stored events (CHANGELOG.md)."""
        connection = await asyncpg.connect(self.world.database_url)
        try:
            for statement in OUTDATED:
                await connection.execute(statement)
        finally:
            await connection.close()
        return await asyncio.to_thread(self.old.command, "scoring", "rebuild")

    async def old_migrate_refused(self) -> None:
        """Note if the older release's `migrate` touches tables that it does not know."""
        try:
            await asyncio.to_thread(self.old.command, "ingest", "migrate")
        except DemoError:
            return
        self.wrong.append("the older `migrate` did not refuse newer tables")

    async def check_rest(self) -> None:
        """Note what must hold at rest: the erased customer is gone, tokens are still valid."""
        await settled(self.world)
        connection = await asyncpg.connect(self.world.database_url)
        try:
            if rows := await connection.fetchval(LEFT, PERSON):
                self.wrong.append(f"{rows} rows of an erased customer are left")
        finally:
            await connection.close()
        running = {
            name: services
            for services in (self.old, self.new)
            for name in NAMES
            if services.runs(name)
        }
        if running.keys() != set(NAMES):
            self.wrong.append(f"only {sorted(running)} run")
        async with httpx.AsyncClient() as client:
            for name, services in running.items():
                bearer = {"Authorization": f"Bearer {self.tokens[name]}"}
                answer = await client.get(services.url(name) + "/v1/audit", headers=bearer)
                if not answer.is_success:
                    self.wrong.append(f"{name}: a token answered {answer.status_code}")

    def errors(self) -> list[str]:
        """Return the lines of the services' logs that report an error."""
        found = []
        for services in (self.old, self.new):
            for name in (*NAMES, CRM):
                log = services.logs / f"{name}.log"
                lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
                found += [f"{log.parent.name}/{log.name}: {x[:300]}" for x in lines if _is_error(x)]
        return found


def _is_error(line: str) -> bool:
    # What aiokafka logs of a coordinator that is not there yet is no error of ours.
    ours = '"level": "error"' in line and '"logger": "aiokafka' not in line
    return ours or "Traceback" in line


def _tokens(services: Services) -> dict[str, Any]:
    create = ("tokens", "create", "--name", "upgrade", "--scope", "admin")
    return {name: services.command(name, *create).strip() for name in NAMES}
