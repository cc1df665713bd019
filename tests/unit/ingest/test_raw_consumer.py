"""The raw consumer while its member of the group is replaced."""

import asyncio

import pytest
from aiokafka import TopicPartition

from services.ingest.inbound import raw_consumer
from services.ingest.inbound.raw_consumer import RawConsumer
from shared.kafka.settings import KafkaSettings

OURS = TopicPartition("raw", 0)


class Member:
    """A member whose position is known only once `answers` is set."""

    answers = asyncio.Event()
    asked = asyncio.Event()

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def assignment(self) -> set[TopicPartition]:
        return {OURS, OURS._replace(partition=1)}

    async def end_offsets(self, ours: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(ours, 7)

    async def position(self, _: TopicPartition) -> int:
        self.asked.set()
        await self.answers.wait()
        return 4


async def test_the_lag_is_measured_while_the_member_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new topic replaces the member at any time: that is no reason for ingest to end."""
    monkeypatch.setattr(Member, "answers", asyncio.Event())
    monkeypatch.setattr(Member, "asked", asyncio.Event())
    monkeypatch.setattr(raw_consumer, "AIOKafkaConsumer", Member)
    consumer = RawConsumer(KafkaSettings(), ["raw"], "group", 10)
    await consumer.start()
    measured = asyncio.create_task(consumer.lag())
    await Member.asked.wait()
    await consumer.close()
    Member.answers.set()
    assert await measured == {("raw", 0): 3, ("raw", 1): 3}
    assert await consumer.lag() == {}
