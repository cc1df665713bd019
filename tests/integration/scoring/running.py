"""Scoring as a real process on the real broker and database, with its own topics."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local import topics as creating
from deploy.local.stack import LocalStack
from deploy.local.waiting import LOOPBACK, free_port
from services.scoring.__main__ import _add_commands
from services.scoring.commands.service import SPEC
from shared.contracts import topics
from shared.contracts.topics import Topic
from shared.kafka.batch import ConsumedRecord as Read
from shared.kafka.producer import Producer, Record
from shared.kafka.settings import KafkaSettings
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from tests.fakes.log import MemoryLog
from tests.integration.commands import run_command
from tests.integration.scoring.postgres import table

LIMIT_S = 60.0
"""Longest wait for anything, in seconds: far above what is needed."""


@dataclass(frozen=True, slots=True)
class ServiceEnvironment:
    """A stack, a database and topics that no other test uses."""

    stack: LocalStack
    database_url: str
    engine: AsyncEngine
    partitions: int
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def topic(self, name: str) -> str:
        """Return the test's topic for a purpose: activity, risk or dead-letter."""
        return f"{name}-{self.mark}"

    @property
    def kafka(self) -> KafkaSettings:
        """Return the settings of the broker."""
        return self.stack.kafka.settings

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the service's process; `settings` come without their prefix."""
        own = {
            "ACTIVITY_TOPIC": self.topic("activity"),
            "RISK_TOPIC": self.topic("risk"),
            "TREATMENT_TOPIC": self.topic("treatment"),
            "CHANGES_TOPIC": self.topic("changes"),
            "DEAD_LETTER_TOPIC": self.topic("dead-letter"),
            "GROUP": f"scoring-{self.mark}",
            # Measuring a base makes all customers due: assessments that a reference run lacks.
            "VALUE_FIRST_S": "3600",
            **settings,
        }
        return {
            **os.environ,
            **self.stack.environment(),
            "DATABASE_URL": self.database_url,
            **{f"EBBWATCH_SCORING_{name}": value for name, value in own.items()},
        }

    async def prepare(self) -> None:
        """Create the topics, without retention: tests write records with old timestamps."""
        wanted = (
            ("activity", topics.ACTIVITY),
            ("risk", topics.RISK),
            ("treatment", topics.TREATMENT),
            ("changes", topics.CHANGES),
            ("dead-letter", topics.DEAD_LETTER),
        )
        new = tuple(
            Topic(self.topic(name), self.partitions, {**like.settings, "retention.ms": "-1"})
            for name, like in wanted
        )
        await creating.create(self.kafka, new)

    async def send(self, log: MemoryLog, topic: str = "activity") -> None:
        """Write a log to the topic of this purpose, partition by partition."""
        producer = Producer(self.kafka, "test")
        for (_, partition), records in sorted(log.records.items()):
            await producer.send(
                Record(self.topic(topic), r.key, r.value, r.headers, partition) for r in records
            )
        await producer.close()

    async def offsets(self) -> dict[int, int]:
        """Return the next offset of each partition of the activity topic, by the ledger."""
        return {
            r["partition"]: r["next_offset"] or 0
            for r in await table(self.engine, "partition")
            if r["topic"] == self.topic("activity")
        }

    async def reached(self, records: int) -> None:
        """Wait until so many records are consumed in all."""
        async with asyncio.timeout(LIMIT_S):
            while sum((await self.offsets()).values()) < records:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)

    async def read(self, name: str, count: int = 0) -> list[Read]:
        """Return everything that a topic holds, once there are `count`, by partition and offset."""
        consumer = AIOKafkaConsumer(
            **self.kafka.client_kwargs("test"), auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            ours = [TopicPartition(self.topic(name), n) for n in range(self.partitions)]
            consumer.assign(ours)
            ends = await consumer.end_offsets(ours)
            found: list[Read] = []
            async with asyncio.timeout(LIMIT_S):
                while len(found) < count or any(
                    [await consumer.position(tp) < end for tp, end in ends.items()]
                ):
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found += records
            return sorted(found, key=lambda r: (r.partition, r.offset))
        finally:
            await consumer.stop()

    async def command(self, *arguments: str, status: int = 0) -> str:
        """Run an operator's command within this process; fail unless it ends with `status`.

        Return its output, or its error text where `status` is not 0.
        """
        ended, out, err = await run_command(SPEC, _add_commands, self.environment({}), arguments)
        assert ended == status, err
        return err if status else out


@asynccontextmanager
async def place(
    stack: LocalStack, database_url: str, partitions: int
) -> AsyncIterator[ServiceEnvironment]:
    """Provide topics and tables."""
    engine = create_engine(PostgresSettings(url=SecretStr(database_url)), "test")
    try:
        made = ServiceEnvironment(stack, database_url, engine, partitions)
        await made.prepare()
        yield made
    finally:
        await engine.dispose()


@dataclass(frozen=True, slots=True)
class Running:
    """A running scoring service."""

    process: "asyncio.subprocess.Process"
    url: str

    async def get(self, path: str, token: str | None = None) -> httpx.Response | None:
        """Request a path; return None while there is no answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient() as client:
            try:
                return await client.get(self.url + path, headers=headers, timeout=10)
            except httpx.TransportError:
                return None

    async def until(self, path: str, status: int) -> httpx.Response:
        """Poll a path until it answers with this status."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                assert self.process.returncode is None, "scoring ended by itself"
                answer = await self.get(path)
                if answer is not None and answer.status_code == status:
                    return answer
                await asyncio.sleep(0.05)

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = LIMIT_S) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def scoring(place: ServiceEnvironment, **settings: str) -> AsyncIterator[Running]:
    """Run the service, which may not be ready yet; kill it at the end if it still runs."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.scoring", "run"),
        env=place.environment({"PORT": str(port), **settings}),
    )
    try:
        yield Running(process, f"http://{LOOPBACK}:{port}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def by_key(records: Sequence[Read]) -> dict[bytes, list[Read]]:
    """Return the records of a topic by key, in their order."""
    found: dict[bytes, list[Read]] = {}
    for record in records:
        found.setdefault(record.key or b"", []).append(record)
    return found
