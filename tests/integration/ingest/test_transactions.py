"""A sender with transactions: aborted records are no events, and they leave no lag."""

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.stack import LocalStack
from tests.integration.ingest.running import ServiceEnvironment, ingest
from tests.integration.shared.transactions import transact
from tests.unit.ingest.events import encoded

pytestmark = pytest.mark.stack


async def log_ends(place: ServiceEnvironment) -> dict[int, int]:
    """Return the ends of the raw topic's partitions, markers included."""
    consumer = AIOKafkaConsumer(**place.kafka.client_kwargs("test"))
    await consumer.start()
    try:
        ours = [TopicPartition(place.raw, n) for n in range(2)]
        return {tp.partition: end for tp, end in (await consumer.end_offsets(ours)).items()}
    finally:
        await consumer.stop()


async def test_an_aborted_end_is_no_lag(
    place: ServiceEnvironment, apache_kafka: LocalStack
) -> None:
    """The group's offset reaches the log's end, after a restart too, and ingest stays ready.

    One partition has events; the other has nothing but the aborted transaction.
    """
    del apache_kafka
    async with ingest(place) as running:
        await transact(place.kafka, place.raw, {0: [encoded(id="1")]}, abort=False)
        gone = [encoded(id="2"), b"neither an event"]
        await transact(place.kafka, place.raw, {0: gone, 1: gone}, abort=True)
        ends = await log_ends(place)
        assert ends == {0: 5, 1: 3}
        assert await place.committed(ends) == ends
        await running.accepted(1)
        await running.until("/readyz", 200)
        assert await running.stop() == 0
    await transact(place.kafka, place.raw, {0: gone, 1: gone}, abort=True)
    ends = await log_ends(place)
    async with ingest(place) as running:
        assert await place.committed(ends) == ends
        lag = f'ebbwatch_ingest_lag_records{{partition="0",topic="{place.raw}"}}'
        assert await running.metric(lag) == 0
        await transact(place.kafka, place.raw, {0: [encoded(id="3")]}, abort=False)
        await running.accepted(1)
    assert len(await place.read(place.activity, 2)) == 2
