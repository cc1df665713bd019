"""Records between the services that the client library cannot read stop no consumer."""

import pytest
from aiokafka import AIOKafkaProducer

from shared.kafka.unpacking import BATCH_BYTES_MAX, Unread
from tests.fakes.unchecked_batches import BAD_NAME, Sent, builder
from tests.integration.shared.environment import BrokerEnvironment
from tests.integration.shared.test_fenced_start import started

pytestmark = pytest.mark.stack

GOOD: Sent = (b"good", ())


async def write(place: BrokerEnvironment, records: list[Sent], codec: str) -> None:
    """Write records as one batch of a foreign writer."""
    producer = AIOKafkaProducer(
        **place.kafka.client_kwargs("test-careless"), max_request_size=2**31 - 1
    )
    await producer.start()
    batch = producer.create_batch()
    batch._builder = builder(records, codec)
    batch._relative_offset = len(records)
    await (await producer.send_batch(batch, place.topic, partition=0))
    await producer.stop()


async def test_what_cannot_be_read_is_passed_over(place: BrokerEnvironment) -> None:
    """A header name that is not text, and 65 MB compressed to a few kB: each has its position.

    A consumer that begins in the middle of them finds the same.
    """
    await place.create(1)
    await write(place, [GOOD, (b"bad", BAD_NAME), GOOD], "none")
    await write(place, [(b" " * (BATCH_BYTES_MAX + 1), ())], "zstd")
    await write(place, [GOOD], "gzip")
    async with started(place.worker(records_max=2)) as worker:
        await worker.until_seen(p0=5)
    unread = [record.offset for record in worker.seen[0] if isinstance(record, Unread)]
    assert unread == [1, 2, 3]
    assert [r.value for r in worker.seen[0] if r.offset not in unread] == [b"good", b"good"]

    await write(place, [GOOD], "lz4")
    async with started(place.worker("two")) as worker:
        await worker.until_seen(p0=1)
    assert (await place.stopped(), await place.stored()) == ({}, {0: 6})
