"""A topic of the test's own, with fenced consumers that the test polls by hand."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local import topics
from shared.contracts.topics import Topic
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.fenced import FencedConsumer
from shared.kafka.producer import Producer
from shared.kafka.producer import Record as Outgoing
from shared.kafka.settings import KafkaSettings
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Claim, Fenced, Ledger
from shared.postgres.ledger import TopicPartition as Tp

LIMIT_S = 45.0
"""Longest wait for anything, in seconds: far above what is needed, below the test's limit."""


@dataclass(frozen=True, slots=True)
class BrokerEnvironment:
    """A broker, a ledger and names that no other test uses."""

    kafka: KafkaSettings
    engine: AsyncEngine
    ledger: Ledger
    mark: str

    @property
    def topic(self) -> str:
        """Return the name of the test's topic."""
        return f"fenced-{self.mark}"

    def tp(self, partition: int) -> Tp:
        """Return a partition of the test's topic."""
        return self.topic, partition

    async def create(self, partitions: int, **settings: str) -> None:
        """Create the topic."""
        names = {name.replace("_", "."): value for name, value in settings.items()}
        await topics.create(self.kafka, (Topic(self.topic, partitions, names),))

    async def delete(self) -> None:
        """Delete the topic and wait until it is gone."""
        admin = AIOKafkaAdminClient(**self.kafka.client_kwargs("test"))
        await admin.start()
        try:
            await admin.delete_topics([self.topic])
            async with asyncio.timeout(LIMIT_S):
                while self.topic in await admin.list_topics():  # noqa: ASYNC110 (no event)
                    await asyncio.sleep(0.05)
        finally:
            await admin.close()

    async def delete_records(self, partition: int, before: int) -> None:
        """Delete records as retention does: the partition then begins at offset `before`."""
        admin = AIOKafkaAdminClient(**self.kafka.client_kwargs("test"))
        await admin.start()
        try:
            at = TopicPartition(self.topic, partition)
            await admin.delete_records({at: RecordsToDelete(before)})
        finally:
            await admin.close()

    async def write(self, values: Mapping[int, Iterable[str]]) -> None:
        """Append values to partitions."""
        producer = Producer(self.kafka, "test")
        await producer.send(
            Outgoing(self.topic, b"k", value.encode(), partition=partition)
            for partition, found in values.items()
            for value in found
        )
        await producer.close()

    async def commit(self, group: str, offsets: Mapping[int, int]) -> None:
        """Commit offsets to Kafka itself, for a group without members."""
        committer = AIOKafkaConsumer(
            **self.kafka.client_kwargs("test"),
            group_id=f"ebbwatch-{group}",
            enable_auto_commit=False,
        )
        await committer.start()
        try:
            committer.assign([TopicPartition(self.topic, n) for n in offsets])
            await committer.commit({TopicPartition(self.topic, n): o for n, o in offsets.items()})
        finally:
            await committer.stop()

    def worker(
        self,
        name: str = "one",
        *,
        records_max: int = 100,
        on_claim: Callable[[Claim], Awaitable[None]] | None = None,
    ) -> "Worker":
        """Return a member of the test's group."""
        return Worker(
            FencedConsumer(
                settings=self.kafka,
                ledger=self.ledger,
                topics=(self.topic,),
                group=f"fenced-{self.mark}",
                worker=name,
                batch_records_max=records_max,
                on_claim=on_claim,
            ),
            self.engine,
            self.ledger,
        )

    async def stored(self) -> dict[int, int | None]:
        """Return the ledger's offset of each partition."""
        rows = await self.ledger.list_all()
        return {r["partition"]: r["next_offset"] for r in rows if r["topic"] == self.topic}

    async def stopped(self) -> dict[int, str]:
        """Return why partitions are stopped."""
        rows = await self.ledger.list_all()
        return {r["partition"]: r["status_reason"] for r in rows if r["status"] == "stopped"}


@dataclass(slots=True)
class Worker:
    """A consumer and what it received; each batch is consumed in one transaction."""

    consumer: FencedConsumer
    engine: AsyncEngine
    ledger: Ledger
    seen: dict[int, list[ConsumedRecord]] = field(default_factory=lambda: defaultdict(list))
    lost: list[Tp] = field(default_factory=list)
    """The moves that the fence refused, in order."""
    parked: list[str] = field(default_factory=list)
    """The topics of the records that were set aside."""

    async def handle(self, batch: Batch) -> None:
        """Consume a whole batch in one transaction."""
        moves = [batch.move(tp, len(records), {}) for tp, records in batch.records.items()]
        try:
            async with unit_of_work(self.engine) as work:
                await self.ledger.advance(work, moves)
        except Fenced as fenced:
            self.lost += sorted(fenced.lost)
            self.consumer.fenced(batch, fenced.lost)
            return
        for (_, partition), records in batch.records.items():
            self.seen[partition] += records
        self.consumer.moved(batch, moves)

    async def turn(self) -> None:
        """Poll once and handle the batch."""
        batch = await self.consumer.poll()
        if batch:
            await self.handle(batch)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Poll until a condition holds."""
        async with asyncio.timeout(LIMIT_S):
            while not reached():
                await self.turn()

    async def until_seen(self, **counts: int) -> None:
        """Poll until so many records of each partition came (`p0=3`)."""
        wanted = {int(name[1:]): count for name, count in counts.items()}
        await self.until(lambda: all(len(self.seen[p]) >= n for p, n in wanted.items()))

    def values(self, partition: int) -> list[str]:
        """Return the received values of a partition, in order."""
        return [(r.value or b"").decode() for r in self.seen[partition]]
