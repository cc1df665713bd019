"""Partitions come and go: new ones wait for the old ones, missing ones stop the topic."""

import asyncio
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from deploy.local.stack import LocalStack
from tests.integration.shared.environment import BrokerEnvironment
from tests.integration.shared.test_fenced_start import numbered, started

pytestmark = pytest.mark.stack


def soon(place: BrokerEnvironment) -> BrokerEnvironment:
    """Provide the environment with clients that notice added partitions at once."""
    return replace(place, kafka=place.kafka.model_copy(update={"metadata_max_age_ms": 200}))


async def add(place: BrokerEnvironment, count: int) -> None:
    """Raise the topic's number of partitions to `count`."""
    admin = AIOKafkaAdminClient(**place.kafka.client_kwargs("test"))
    await admin.start()
    try:
        await admin.create_partitions({place.topic: NewPartitions(count)})
    finally:
        await admin.close()


async def test_new_partitions_wait_until_the_old_ones_are_read(
    place: BrokerEnvironment, apache_kafka: LocalStack
) -> None:
    """Partitions were added while the old ones had a backlog.

    No record of a new one is read before the old ones reach the ends they had; then everything is
    read, each record once.
    """
    del apache_kafka
    await place.create(2)
    await place.write({0: numbered(0, 5), 1: numbered(0, 5)})
    async with started(place.worker()) as worker:
        await worker.until_seen(p0=5, p1=5)
    await place.write({0: numbered(5, 40), 1: numbered(5, 10)})
    await add(place, 4)
    await place.write({2: numbered(0, 10), 3: numbered(0, 10)})
    async with started(place.worker(records_max=6)) as worker:
        await worker.until(lambda: bool(worker.seen[2] or worker.seen[3]))
        stored = await place.stored()
        assert (stored[0], stored[1]) == (45, 15)
        await place.write({0: numbered(45, 3)})
        await worker.until_seen(p0=43, p1=10, p2=10, p3=10)
    assert worker.values(0) == numbered(5, 43)
    assert worker.values(2) == worker.values(3) == numbered(0, 10)


async def test_partitions_added_during_reading_are_read(
    place: BrokerEnvironment, apache_kafka: LocalStack
) -> None:
    """Without a restart the group notices, distributes anew, and the new partitions are read."""
    del apache_kafka
    quick = soon(place)
    await quick.create(1)
    async with started(quick.worker()) as worker:
        await quick.write({0: numbered(0, 5)})
        await worker.until_seen(p0=5)
        await add(quick, 3)
        await quick.write({0: numbered(5, 5), 1: numbered(0, 5), 2: numbered(0, 5)})
        await worker.until_seen(p0=10, p1=5, p2=5)
    assert worker.values(0) == numbered(0, 10)


async def test_a_topic_with_fewer_partitions_stops(place: BrokerEnvironment) -> None:
    """The topic was recreated smaller: a partition that would never be assigned stops the topic.

    When an operator forgets the missing one, the rest continues.
    """
    await place.create(2)
    await place.write({0: numbered(0, 3)})
    async with started(place.worker()) as worker:
        await worker.until(lambda: len(worker.consumer.claims) == 2)
        await worker.until_seen(p0=3)
    await place.delete()
    await place.create(1)
    async with started(place.worker()) as worker:
        await worker.until(lambda: bool(worker.consumer.stopped))
        assert "has 1 partitions and had 2" in (await place.stopped())[0]
        assert await place.ledger.forget(place.tp(1))
        assert await place.ledger.reset(place.tp(0), 0)
        await place.write({0: ["again"]})
        await worker.until_seen(p0=1)
    assert not await place.ledger.forget(place.tp(1))


async def test_the_first_ends_stand(place: BrokerEnvironment) -> None:
    """Several workers see the growth with different ends, and the first one's are kept.

    A partition with unread records keeps every new one waiting; an empty one does not.
    """
    ledger = place.ledger
    await asyncio.gather(*(ledger.grow(place.topic, 3, {}) for _ in range(4)))
    assert await ledger.known(place.topic) == {0, 1, 2}
    assert not (await ledger.take_over(place.tp(2), "one")).waits
    await ledger.grow(place.topic, 5, {0: 7})
    await ledger.grow(place.topic, 5, {0: 900, 1: 900})
    assert (await ledger.take_over(place.tp(3), "one")).waits
    assert not (await ledger.take_over(place.tp(0), "one")).waits
    await ledger.reset(place.tp(0), 7)
    assert not (await ledger.take_over(place.tp(4), "one")).waits
    assert not (await ledger.take_over(place.tp(3), "one")).waits
