"""Measures how many records the services are behind: paces the replay and detects its end.

The services write the offsets they have reached to Kafka five times a second, for displays and for
tools like this one; nothing here accesses a service. A count may be up to that 0.2 s old (0.3 s
from a `Backpressure`) and is rather too high, except for control records that ingest has yet to
copy to every partition.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared.contracts.topics import ACTIVITY, RAW, RISK, Topic
from shared.kafka.settings import KafkaSettings

LOOK_S = 0.1
"""Seconds between two requests of a `Backpressure`: half the time after which positions are new."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A topic and the consumer group that reads it."""

    topic: Topic
    group: str


INGEST = Stage(RAW, "ebbwatch-ingest")
SCORING = Stage(ACTIVITY, "ebbwatch-scoring")
ALERTS = (Stage(RISK, "ebbwatch-alerts-risk"), Stage(ACTIVITY, "ebbwatch-alerts-activity"))


class Backlog:
    """Counts unread records. Use as an async context manager."""

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
        """Return the number of records ever written to `topic`."""
        return sum((await self.ends(topic)).values())

    async def behind(self, *stages: Stage) -> int:
        """Return the records that these stages, in the order of the data, have yet to read.

        All positions are read, in this order, before any topic's end, so that records that move on
        meanwhile are counted twice rather than not at all.
        """
        reached = [await self._reached(stage.group) for stage in stages]
        ends = await self.ends(*(stage.topic for stage in stages))
        return sum(
            max(0, end - own.get(tp, 0))
            for stage, own in zip(stages, reached, strict=True)
            for tp, end in ends.items()
            if tp.topic == stage.topic.name
        )

    async def before(self, ends: Mapping[TopicPartition, int], stage: Stage) -> int:
        """Return the records before these ends of its topic that a stage has yet to read.

        Unlike `behind` it comes to zero while others go on writing.
        """
        reached = await self._reached(stage.group)
        return sum(max(0, end - reached.get(tp, 0)) for tp, end in ends.items())

    async def ends(self, *topics: Topic) -> dict[TopicPartition, int]:
        """Return the ends of all their partitions, in one request to each broker."""
        parts = [
            TopicPartition(topic.name, number)
            for topic in topics
            for number in range(topic.partitions)
        ]
        ends: dict[TopicPartition, int] = await self._reader.end_offsets(parts)
        return ends

    async def _reached(self, group: str) -> dict[TopicPartition, int]:
        if group not in self._coordinators:
            self._coordinators[group] = await self._admin.find_coordinator(group)
        found = await self._admin.list_consumer_group_offsets(group, self._coordinators[group])
        return {tp: position.offset for tp, position in found.items()}


class Backpressure:
    """Reports to a sender whether some stages keep up with it.

    It knows what was sent since its last request, so it sends one only when that may be too much,
    and no oftener than every `LOOK_S`.
    """

    def __init__(self, backlog: Backlog, *stages: Stage) -> None:
        self._backlog = backlog
        self._stages = stages
        self._sent = 0
        self._read = -math.inf
        """Number of records read at the last request; less by the copies of ticks that still wait
        in the raw topic, where each counts as one record."""
        self._asked_at = -math.inf

    def sent(self, records: int) -> None:
        """Set the number of records sent by now, counted as these stages read them."""
        self._sent = records

    async def within(self, records: int) -> bool:
        """Return whether they have no more than so many records to read."""
        if self._sent - self._read <= records:
            return True
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._asked_at + LOOK_S - loop.time())
        self._asked_at = loop.time()
        left = await self._backlog.behind(*self._stages)
        self._read = self._sent - left
        return left <= records
