"""How far the services are behind, in records: what paces the replay and says that it is done.

The services write the offsets they have reached to Kafka five times a second, for displays and
for tools like this one; nothing here looks into a service. What is counted may be up to that
0.2 s old and errs on the high side, never on the low one.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared.contracts.topics import ACTIVITY, RAW, RISK, Topic
from shared.kafka.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class Stage:
    """A topic and the consumer group that reads it."""

    topic: Topic
    group: str


INGEST = Stage(RAW, "ebbwatch-ingest")
SCORING = Stage(ACTIVITY, "ebbwatch-scoring")
ALERTS = (Stage(RISK, "ebbwatch-alerts-risk"), Stage(ACTIVITY, "ebbwatch-alerts-activity"))


class Backlog:
    """Use as an async context manager."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._admin = AIOKafkaAdminClient(**settings.client_kwargs("demo-backlog"))
        self._reader = AIOKafkaConsumer(**settings.client_kwargs("demo-ends"))
        self._coordinators: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        await self._admin.start()
        await self._reader.start()
        # Its tasks must have begun: aiokafka's `stop` raises CancelledError for one that has not.
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._reader.stop()
        await self._admin.close()

    async def written(self, topic: Topic) -> int:
        """Records ever written to `topic`."""
        return sum((await self._ends(topic)).values())

    async def behind(self, *stages: Stage) -> int:
        """Records that these stages have yet to read; name them in the order of the data.

        A stage is asked for its position before its topic is asked for its end, so what moves
        on meanwhile is counted twice rather than not at all.
        """
        total = 0
        for stage in stages:
            reached = await self._reached(stage.group)
            ends = await self._ends(stage.topic)
            total += sum(max(0, end - reached.get(tp, 0)) for tp, end in ends.items())
        return total

    async def _ends(self, topic: Topic) -> dict[TopicPartition, int]:
        parts = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        ends: dict[TopicPartition, int] = await self._reader.end_offsets(parts)
        return ends

    async def _reached(self, group: str) -> dict[TopicPartition, int]:
        if group not in self._coordinators:
            self._coordinators[group] = await self._admin.find_coordinator(group)
        found = await self._admin.list_consumer_group_offsets(group, self._coordinators[group])
        return {tp: position.offset for tp, position in found.items()}
