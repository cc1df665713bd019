"""The producer on the real broker: partitions, order, headers, sizes, and refusals."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from shared.contracts.topics import MESSAGE_BYTES_MAX, RAW_MESSAGE_BYTES_MAX
from shared.kafka.producer import BATCH_BYTES_MAX, RECORD_BYTES_MAX, Producer, Record
from shared.kernel.errors import Transient
from tests.integration.shared.environment import BrokerEnvironment

pytestmark = pytest.mark.stack

PARTITIONS = 3


@pytest.fixture
async def producer(place: BrokerEnvironment) -> AsyncIterator[Producer]:
    """Provide a producer with a topic that accepts large records."""
    await place.create(PARTITIONS, max_message_bytes=str(RECORD_BYTES_MAX))
    made = Producer(place.kafka, "test")
    yield made
    await made.close()


async def read(place: BrokerEnvironment, count: int) -> dict[int, list[ConsumerRecord]]:
    """Read everything in the topic, which holds exactly so many records, by partition."""
    consumer = AIOKafkaConsumer(**place.kafka.client_kwargs("test"), auto_offset_reset="earliest")
    await consumer.start()
    found: dict[int, list[ConsumerRecord]] = defaultdict(list)
    try:
        every = [TopicPartition(place.topic, n) for n in range(PARTITIONS)]
        consumer.assign(every)
        ends = await consumer.end_offsets(every)
        assert sum(ends.values()) == count
        while sum(map(len, found.values())) < count:
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found[tp.partition] += records
    finally:
        await consumer.stop()
    return found


def values(records: Iterable[ConsumerRecord]) -> list[bytes | None]:
    """Return the sent values in the log's order."""
    return [record.value for record in records]


async def test_many_batches_keep_their_order(place: BrokerEnvironment, producer: Producer) -> None:
    """Several batches per partition in several calls: nothing is lost, repeated or overtaken.

    The broker counts an idempotent sender's records and refuses none.
    """
    pad = b"." * 2_000
    for call in range(3):
        await producer.send(
            Record(place.topic, f"customer-{n % 50}".encode(), b"%d/%d" % (call, n) + pad)
            for n in range(1_000)
        )
    found = await read(place, 3_000)
    assert len(found) == PARTITIONS
    expected: dict[bytes, list[bytes]] = defaultdict(list)
    for call in range(3):
        for n in range(1_000):
            expected[f"customer-{n % 50}".encode()].append(b"%d/%d" % (call, n) + pad)
    by_key: dict[bytes, list[bytes]] = defaultdict(list)
    for records in found.values():
        assert sum(len(record.value) for record in records) > 3 * BATCH_BYTES_MAX
        for record in records:
            by_key[record.key].append(record.value)
    assert by_key == expected


async def test_places_as_the_client_library(place: BrokerEnvironment, producer: Producer) -> None:
    """A key goes to the same partition as with another client; a number chooses a partition."""
    keys = [f"客户-{n}".encode() for n in range(30)]
    await producer.send(Record(place.topic, key, b"ours") for key in keys)
    await producer.send([Record(place.topic, b"k", b"named", partition=n) for n in range(3)])
    async with AIOKafkaProducer(**place.kafka.client_kwargs("test")) as other:
        for key in keys:
            await other.send_and_wait(place.topic, key=key, value=b"theirs")
    found = await read(place, 63)
    for records in found.values():
        ours = {r.key for r in records if r.value == b"ours"}
        assert ours == {r.key for r in records if r.value == b"theirs"}
        assert [r.value for r in records].count(b"named") == 1


async def test_without_a_key(place: BrokerEnvironment, producer: Producer) -> None:
    """One call's records stay together and in order; the next call's go elsewhere."""
    for call in range(PARTITIONS):
        await producer.send(Record(place.topic, None, b"%d-%d" % (call, n)) for n in range(5))
    found = await read(place, 5 * PARTITIONS)
    assert sorted(values(records) for records in found.values()) == [
        [b"%d-%d" % (call, n) for n in range(5)] for call in range(PARTITIONS)
    ]


async def test_headers_and_nothing_at_all(place: BrokerEnvironment, producer: Producer) -> None:
    """Headers arrive unchanged and a tombstone has no value.

    A tombstone without a key gets an empty key.
    """
    headers = (("a", b"\xff"), ("b", b""))
    await producer.send(
        [
            Record(place.topic, b"k", b"v", headers, partition=0),
            Record(place.topic, b"k", None, partition=0),
            Record(place.topic, None, None, partition=0),
        ]
    )
    found = (await read(place, 3))[0]
    assert [(r.key, r.value, tuple(r.headers)) for r in found] == [
        (b"k", b"v", headers),
        (b"k", None, ()),
        (b"", None, ()),
    ]


async def test_large_records_travel_alone(place: BrokerEnvironment, producer: Producer) -> None:
    """Large records are sent alone, in order among small ones of the same key."""
    sizes: Sequence[int] = (1, MESSAGE_BYTES_MAX, 1, RAW_MESSAGE_BYTES_MAX, BATCH_BYTES_MAX, 1)
    await producer.send(Record(place.topic, b"k", b"x" * size) for size in sizes)
    (found,) = (await read(place, len(sizes))).values()
    assert [len(value or b"") for value in values(found)] == list(sizes)


async def test_what_is_too_large_is_said(place: BrokerEnvironment, producer: Producer) -> None:
    """The error has topic, size and bound; afterwards the producer sends again."""
    with pytest.raises(Transient, match=rf"record to {place.topic} has [\d,]+ bytes; at most"):
        await producer.send([Record(place.topic, b"k", b"x" * RECORD_BYTES_MAX)])
    await producer.send([Record(place.topic, b"k", b"fits")])
    assert [values(r) for r in (await read(place, 1)).values()] == [[b"fits"]]


async def test_what_the_broker_refuses_fails_the_call(place: BrokerEnvironment) -> None:
    """One topic's refusal is raised, though the other topic's records are accepted; twice."""
    await place.create(PARTITIONS, max_message_bytes="1000")
    producer = Producer(place.kafka, "test")
    incompressible = np.random.default_rng(1).bytes(2_000)
    try:
        for _ in range(2):
            with pytest.raises(Transient, match="MessageSizeTooLarge"):
                await producer.send(
                    [
                        Record(place.topic, b"k", incompressible, partition=0),
                        Record(place.topic, b"k", b"small", partition=1),
                    ]
                )
    finally:
        await producer.close()
