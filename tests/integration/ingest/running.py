"""Ingest as a real process on the real broker and database, with its own topics."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import SecretStr

from deploy.local import topics as creating
from deploy.local.stack import LocalStack
from deploy.local.waiting import LOOPBACK, free_port
from services.ingest.__main__ import _add_commands
from services.ingest.commands.service import SPEC
from shared.contracts import topics
from shared.contracts.topics import Topic
from shared.kafka.batch import ConsumedRecord
from shared.kafka.settings import KafkaSettings
from shared.postgres.settings import PostgresSettings
from tests.integration.commands import run_command
from tests.unit.ingest.events import Bad

LIMIT_S = 45.0
"""Longest wait for anything, in seconds: far above what is needed, below the test's limit."""
PARTITIONS = 2


def keeps(broker: str, bad: Bad) -> bool:
    """Return whether the broker returns a record unchanged.

    The embedded broker drops a second header of the same name.
    """
    names = [name for name, _ in bad.headers]
    return broker != "embedded" or len(names) == len(set(names))


@dataclass(frozen=True, slots=True)
class ServiceEnvironment:
    """A stack, a database and topics that no other test uses."""

    stack: LocalStack
    database_url: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def raw(self) -> str:
        return f"raw-{self.mark}"

    @property
    def activity(self) -> str:
        return f"activity-{self.mark}"

    @property
    def dead_letter(self) -> str:
        return f"dead-letter-{self.mark}"

    @property
    def kafka(self) -> KafkaSettings:
        return self.stack.kafka.settings

    @property
    def postgres(self) -> PostgresSettings:
        return PostgresSettings(url=SecretStr(self.database_url))

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of an ingest process; `settings` replace or extend it."""
        own = {
            "EBBWATCH_INGEST_RAW_TOPICS": self.raw,
            "EBBWATCH_INGEST_ACTIVITY_TOPIC": self.activity,
            "EBBWATCH_INGEST_DEAD_LETTER_TOPIC": self.dead_letter,
            "EBBWATCH_INGEST_GROUP": f"ingest-{self.mark}",
        }
        return {
            **os.environ,
            **self.stack.environment(),
            "DATABASE_URL": self.database_url,
            **own,
            **(settings or {}),
        }

    async def prepare(self) -> None:
        """Create the topics."""
        wanted = (
            (self.raw, topics.RAW),
            (self.activity, topics.ACTIVITY),
            (self.dead_letter, topics.DEAD_LETTER),
        )
        new = tuple(Topic(name, PARTITIONS, like.settings) for name, like in wanted)
        await creating.create(self.kafka, new)

    async def command(self, *arguments: str, status: int = 0) -> str:
        """Run an operator's command within this process; fail unless it ends with `status`."""
        ended, out, err = await run_command(SPEC, _add_commands, self.environment(), arguments)
        assert ended == status, err
        return out

    async def read(self, topic: str, count: int) -> list[ConsumedRecord]:
        """Return the first `count` records of a topic, by partition and offset.

        Fails if they do not arrive. Later records that are already there are returned too.
        """
        consumer = AIOKafkaConsumer(
            **self.kafka.client_kwargs("test"),
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=2 * topics.RAW_MESSAGE_BYTES_MAX,
        )
        await consumer.start()
        try:
            ours = [TopicPartition(topic, n) for n in range(PARTITIONS)]
            consumer.assign(ours)
            found: list[ConsumedRecord] = []
            async with asyncio.timeout(LIMIT_S):
                while len(found) < count or not await _at_end(consumer, ours):
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found += records
            return sorted(found, key=lambda r: (r.partition, r.offset))
        finally:
            await consumer.stop()

    async def committed(self, ends: dict[int, int]) -> dict[int, int]:
        """Wait until the group has committed at least these offsets of the raw topic.

        Returns the committed offsets.
        """
        consumer = AIOKafkaConsumer(
            **self.kafka.client_kwargs("test"),
            group_id=f"ebbwatch-ingest-{self.mark}",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    found = {
                        n: await consumer.committed(TopicPartition(self.raw, n)) or 0 for n in ends
                    }
                    if all(found[n] >= end for n, end in ends.items()):
                        return found
                    await asyncio.sleep(0.05)
        finally:
            await consumer.stop()


async def _at_end(consumer: AIOKafkaConsumer, ours: list[TopicPartition]) -> bool:
    ends = await consumer.end_offsets(ours)
    return all([await consumer.position(tp) >= end for tp, end in ends.items()])


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Return when `check` holds; fail after `LIMIT_S`."""
    async with asyncio.timeout(LIMIT_S):
        while not await check():  # noqa: ASYNC110 (what changes is another process)
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Running:
    """A running ingest service."""

    process: "asyncio.subprocess.Process"
    url: str

    async def until(self, path: str, status: int) -> httpx.Response:
        """Poll a path until it answers with this status."""
        async with asyncio.timeout(LIMIT_S), httpx.AsyncClient() as client:
            while True:
                assert self.process.returncode is None, "ingest ended by itself"
                try:
                    answer = await client.get(self.url + path, timeout=10)
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code == status:
                    return answer
                await asyncio.sleep(0.05)

    async def accepted(self, count: int) -> None:
        """Wait until so many purchases were accepted."""
        await self.reaches('ebbwatch_ingest_events_total{type="io.ebbwatch.purchase"}', count)

    async def reaches(self, line: str, value: float) -> None:
        """Wait until a metric, by its name and labels as `/metrics` shows them, reaches a value."""

        async def reached() -> bool:
            return await self.metric(line) >= value

        await eventually(reached)

    async def metric(self, line: str) -> float:
        """Return the value of a metric."""
        async with httpx.AsyncClient() as client:
            shown = (await client.get(self.url + "/metrics")).text
        found = [x.rpartition(" ")[2] for x in shown.splitlines() if x.startswith(line + " ")]
        return float(found[0]) if found else 0.0

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(LIMIT_S):
            return await self.process.wait()


@asynccontextmanager
async def ingest(
    place: ServiceEnvironment, settings: Mapping[str, str] | None = None, *, ready: bool = True
) -> AsyncIterator[Running]:
    """Run the service until it answers and is `ready`; kill it at the end if it still runs."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ingest", "run"),
        env=place.environment({"EBBWATCH_INGEST_PORT": str(port), **(settings or {})}),
    )
    running = Running(process, f"http://{LOOPBACK}:{port}")
    try:
        await running.until("/readyz" if ready else "/livez", 200)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if process.returncode == -signal.SIGKILL:
            place.stack.forget_dead_members()
