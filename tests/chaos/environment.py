"""Servers that can be broken, and for each fault its own topics, database and processes."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx
import psutil

from deploy.local import topics as creating
from deploy.local.stack import LocalStack
from deploy.local.waiting import LOOPBACK, free_port, kept_port
from services.ingest.store.tables import SCHEMA as INGEST
from services.scoring.store.tables import SCHEMA as SCORING
from shared.contracts import topics
from shared.contracts.risk import RiskAssessed
from shared.contracts.topics import Topic
from shared.kernel.errors import Transient
from shared.postgres.migrations import migrate
from tests.chaos.judge import Revision, judge, judge_states, reference
from tests.chaos.report import Found
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import Happening, history
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_worker import TOPIC
from tests.integration.scoring.postgres import table
from tests.integration.scoring.running import ServiceEnvironment, place

PARTITIONS = 6
LIMIT_S = 300.0
"""Longest wait for anything, in seconds: far above what it takes."""
LOOK_S = 0.01
DAYS = 30
SMALL = {
    "CLOCK": "replay",
    "BATCH_RECORDS_MAX": "40",
    "SWEEP_CUSTOMERS_MAX": "15",
    "VALUE_FIRST_S": "86400",
}
"""Many batches, so that a fault falls within one, and held ticks. The base is not measured
meanwhile: that makes customers due by the wall clock, which the reference does not know."""
INGEST_VERSIONS = Path("services/ingest/store/versions")
SCORING_VERSIONS = Path("services/scoring/store/versions")


@dataclass(frozen=True, slots=True)
class Story:
    """A generated history, as the records of the activity topic, and its expected results."""

    happenings: list[Happening]
    log: MemoryLog
    expected: dict[Revision, RiskAssessed]

    @property
    def records(self) -> int:
        """Number of records."""
        return sum(map(len, self.log.records.values()))

    @classmethod
    async def generated(cls, customers: int, seed: int) -> "Story":
        """Generate customers with rhythms from hours to ten days; a tick every day, for a month."""
        happenings = history(customers, DAYS, seed)
        log = MemoryLog(TOPIC)
        today = 0
        for happening in happenings:
            while happening.time >= day(today + 1):
                today += 1
                for partition in range(PARTITIONS):
                    log.append(partition, activity.tick(day(today)))
            partition = int(happening.customer[1:]) % PARTITIONS
            log.append(partition, happening.value(), key=happening.customer.encode())
        for partition in range(PARTITIONS):
            log.append(partition, activity.tick(day(DAYS + 1)))
        return cls(happenings, log, await reference(log))


@dataclass(slots=True)
class Worker:
    """A running service."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        if self.running:
            self.process.send_signal(number)
        async with asyncio.timeout(LIMIT_S):
            return await self.process.wait()

    async def kill(self) -> None:
        """End it as a crash would."""
        await self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Suspend the process (SIGSTOP)."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the process."""
        self.process.send_signal(signal.SIGCONT)

    async def frozen(self) -> None:
        """Wait until it has stopped itself."""
        seen = psutil.Process(self.process.pid)
        async with asyncio.timeout(LIMIT_S):
            while seen.status() != psutil.STATUS_STOPPED:
                assert self.running, f"ended instead: {self.log}"
                await asyncio.sleep(LOOK_S)

    async def status(self, path: str = "/readyz") -> int:
        """Return the HTTP status of `path`; 0 when there is no answer."""
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(self.url + path, timeout=5)).status_code
            except httpx.TransportError:
                return 0

    async def until(self, status: int, path: str = "/readyz") -> None:
        """Wait for an answer."""
        async with asyncio.timeout(LIMIT_S):
            while await self.status(path) != status:
                assert self.running, f"ended: {self.log}"
                await asyncio.sleep(0.05)

    async def metric(self, line: str) -> float:
        """Return the value of a metric by its name and labels; 0 where it is missing."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(self.url + "/metrics", timeout=5)).text
        found = [x.rpartition(" ")[2] for x in text.splitlines() if x.startswith(line + " ")]
        return float(found[0]) if found else 0.0


@dataclass
class ChaosEnvironment:
    """The environment of one fault."""

    stack: LocalStack
    place: ServiceEnvironment
    story: Story
    folder: Path
    long: bool
    times: int
    """How often to inject, where the fault leaves a choice."""
    proxied: tuple[int, int]
    """The broker's second port, and the port advertised to that port's clients: a proxy's."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Environment variables of the services that differ: a proxy's address, for example."""
    workers: list[Worker] = field(default_factory=list)
    injected: int = 0
    recoveries: list[float] = field(default_factory=list)

    @cached_property
    def total(self) -> int:
        """Records to consume."""
        return self.story.records

    async def start(
        self,
        service: str = "scoring",
        *,
        arguments: tuple[str, ...] = (),
        settings: Mapping[str, str] = SMALL,
        **more: str,
    ) -> Worker:
        """Start a service's process; `arguments`: those of `tests.chaos.crash_point`."""
        port = free_port()
        module = (
            ("tests.chaos.crash_point", *arguments) if arguments else (f"services.{service}", "run")
        )
        log = self.folder / f"{self.place.mark}-{len(self.workers)}-{service}.log"
        own = {**settings, **more}
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *module),
                env=self.environment({"PORT": str(port), **own}, service),
                stdout=out,
                stderr=out,
            )
        self.workers.append(Worker(process, f"http://{LOOPBACK}:{port}", log))
        return self.workers[-1]

    def environment(self, settings: Mapping[str, str], service: str) -> dict[str, str]:
        """Return the environment of a service's process."""
        if service == "scoring":
            return self.place.environment(settings) | self.addresses
        topic, mark = self.place.topic, self.place.mark
        own = {
            "RAW_TOPICS": topic("raw"),
            "ACTIVITY_TOPIC": topic("activity"),
            "DEAD_LETTER_TOPIC": topic("dead-letter"),
            "GROUP": f"ingest-{mark}",
            **settings,
        }
        named = {f"EBBWATCH_INGEST_{name}": value for name, value in own.items()}
        base = os.environ | self.stack.environment() | {"DATABASE_URL": self.place.database_url}
        return base | named | self.addresses

    async def prepare_intake(self) -> None:
        """Create the raw topic, and ingest's tables."""
        raw = Topic(self.place.topic("raw"), self.place.partitions, topics.RAW.settings)
        await creating.create(self.place.kafka, (raw,))
        await migrate(self.place.engine, INGEST, INGEST_VERSIONS)

    async def consumed(self) -> int:
        """Return the records consumed according to the ledger; retries until PostgreSQL answers."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    return sum((await self.place.offsets()).values())
                except Transient:
                    await asyncio.sleep(LOOK_S)

    async def reached(self, share: float) -> None:
        """Wait until this share of the records is consumed."""
        async with asyncio.timeout(LIMIT_S):
            while await self.consumed() < self.total * share:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(LOOK_S)

    async def count(self) -> None:
        """Count an injection, if work was in progress."""
        self.injected += await self.consumed() < self.total

    async def recovered(self, since: float | None = None) -> None:
        """Wait for the next committed batch, and note how long that took from `since` (now)."""
        since = time.monotonic() if since is None else since
        before = await self.consumed()
        if before >= self.total:
            return
        async with asyncio.timeout(LIMIT_S):
            while await self.consumed() == before:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(LOOK_S)
        self.recoveries.append(time.monotonic() - since)

    async def finished(self) -> None:
        """Wait until every record is consumed, and stop the services in order."""
        await self.reached(1)
        for worker in self.workers:
            if worker.running:
                worker.thaw()
                assert await worker.stop() == 0, f"did not end well: {worker.log}"

    async def judged(self, *, live: bool = False) -> Found:
        """Compare everything that was stored and sent with the reference."""
        return await judge(self.place, self.story.happenings, None if live else self.story.expected)

    async def judged_states(self) -> Found:
        """Compare events and states only: where messages depend on the order of arrival."""
        return await judge_states(self.place, self.story.happenings)

    async def send_part(self, number: int, of: int) -> None:
        """Send the `number`th of `of` parts of the story's log, of each partition alike."""
        part = MemoryLog(TOPIC)
        for tp, records in self.story.log.records.items():
            start, end = (len(records) * n // of for n in (number, number + 1))
            part.records[tp] = records[start:end]
        await self.place.send(part)

    async def partitions(self) -> list[dict[str, object]]:
        """Return the ledger's rows of the activity topic."""
        name = self.place.topic("activity")
        return [r for r in await table(self.place.engine, "partition") if r["topic"] == name]


@dataclass(frozen=True, slots=True)
class Stand:
    """Our own servers, with a second broker port that leads through a proxy."""

    stack: LocalStack
    folder: Path
    proxied: tuple[int, int]

    @classmethod
    @contextmanager
    def built(cls, folder: Path, environ: Mapping[str, str]) -> Iterator["Stand"]:
        """Start everything; on exit everything has ended."""
        foreign = {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"}
        own = {name: value for name, value in environ.items() if name not in foreign}
        (folder / "kafka").mkdir(parents=True, exist_ok=True)
        plain, controller = (
            kept_port(folder / "kafka" / name) for name in ("port", "controller-port")
        )
        second, reported = free_port(), free_port()
        address = f"PLAINTEXT://{LOOPBACK}:{plain}"
        settings = {
            "listeners": f"{address},PROXIED://{LOOPBACK}:{second},"
            f"CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"{address},PROXIED://{LOOPBACK}:{reported}",
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
        }
        with LocalStack(folder, wipe=True, environ=own, kafka_settings=settings) as stack:
            logs = folder / "logs"
            logs.mkdir(exist_ok=True)
            yield cls(stack, logs, (second, reported))


@asynccontextmanager
async def arena(
    stand: Stand, story: Story, *, long: bool, times: int, partitions: int = PARTITIONS
) -> AsyncIterator[ChaosEnvironment]:
    """Creates topics and a database for one fault; on exit all its processes have ended."""
    name = f"chaos_{os.getpid()}_{time.monotonic_ns()}"
    stack = stand.stack
    url = stack.postgres.fresh(name)
    try:
        async with place(stack, url, partitions) as made:
            await migrate(made.engine, SCORING, SCORING_VERSIONS)
            arena_ = ChaosEnvironment(stack, made, story, stand.folder, long, times, stand.proxied)
            try:
                yield arena_
            finally:
                for worker in arena_.workers:
                    if worker.running:
                        await worker.kill()
    finally:
        stack.postgres.drop(name)
