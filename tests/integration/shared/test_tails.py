"""The log may end with entries that no reader receives: nothing waits for them."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.stack import LocalStack
from shared.kafka.batch import Batch
from tests.integration.shared.environment import LIMIT_S, BrokerEnvironment, Worker
from tests.integration.shared.test_fenced_start import numbered, started
from tests.integration.shared.test_partition_growth import add, soon
from tests.integration.shared.transactions import transact

pytestmark = pytest.mark.stack


@pytest.fixture
def quick(place: BrokerEnvironment, apache_kafka: LocalStack) -> BrokerEnvironment:
    """Provide an environment on a broker with transactions.

    Its clients notice added partitions at once.
    """
    del apache_kafka
    return soon(place)


async def log_end(place: BrokerEnvironment, partition: int) -> int:
    """Return the end of the log, markers included."""
    consumer = AIOKafkaConsumer(**place.kafka.client_kwargs("test"))
    await consumer.start()
    try:
        key = TopicPartition(place.topic, partition)
        return int((await consumer.end_offsets([key]))[key])
    finally:
        await consumer.stop()


async def shown(place: BrokerEnvironment) -> dict[int, int]:
    """Return the group's committed offsets, as lag displays read them."""
    admin = AIOKafkaAdminClient(**place.kafka.client_kwargs("test"))
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(f"ebbwatch-fenced-{place.mark}")
        return {tp.partition: at.offset for tp, at in found.items()}
    finally:
        await admin.close()


def lag(worker: Worker) -> dict[tuple[str, int], int]:
    """Return offsets between the worker's and the end of what can be read, by partition."""
    claims = worker.consumer.claims
    ends = worker.consumer._ends()
    return {tp: max(0, end - (claims[tp].next_offset or 0)) for tp, end in ends.items()}


async def without_lag(place: BrokerEnvironment, worker: Worker, *partitions: int) -> Batch:
    """Poll until neither the worker nor Kafka shows waiting records; return the newest batch."""
    ends = {n: await log_end(place, n) for n in partitions}
    async with asyncio.timeout(LIMIT_S):
        while True:
            batch = await worker.consumer.poll()
            await worker.handle(batch)
            lags = lag(worker)
            if [lags.get(place.tp(n)) for n in partitions] == [0] * len(partitions):
                seen = await shown(place)
                if {n: seen.get(n) for n in partitions} == ends:
                    return batch


@pytest.mark.parametrize("abort", [True, False])
async def test_markers_at_the_end_are_no_lag(quick: BrokerEnvironment, *, abort: bool) -> None:
    """Records of an aborted transaction, which no reader receives, are no lag either.

    The next worker finds the same, and later records are read.
    """
    await quick.create(2)
    await quick.write({0: numbered(0, 5)})
    gone = [b"gone1", b"gone2"]
    await transact(quick.kafka, quick.topic, {0: gone, 1: gone}, abort=abort)
    kept = [] if abort else ["gone1", "gone2"]
    for _ in range(2):
        async with started(quick.worker()) as worker:
            batch = await without_lag(quick, worker, 0, 1)
            for tp, claim in batch.claims.items():
                assert batch.ends[tp] == (claim.next_offset or 0), "the clock would stand"
                assert batch.ends[tp] < await log_end(quick, tp[1])
    await quick.write({0: numbered(5, 3)})
    async with started(quick.worker()) as worker:
        await worker.until_seen(p0=3)
        await without_lag(quick, worker, 0)
    assert worker.values(0) == numbered(5, 3)
    assert await quick.stopped() == {}
    assert (await quick.stored())[1] == (len(kept) or None)


async def test_what_waits_behind_a_marker_is_lag(quick: BrokerEnvironment) -> None:
    """A marker in the middle hides nothing: every record that is not consumed counts."""
    await quick.create(1)
    await transact(quick.kafka, quick.topic, {0: [b"a", b"b"]}, abort=False)
    await quick.write({0: numbered(0, 4)})
    async with started(quick.worker(records_max=2)) as worker:
        await worker.until_seen(p0=2)
        assert lag(worker)[quick.tp(0)] == 5
        await worker.until_seen(p0=6)
        assert lag(worker)[quick.tp(0)] == 0


async def test_added_partitions_do_not_wait_for_markers(quick: BrokerEnvironment) -> None:
    """The recorded end of an old partition lies behind its last record, and counts as reached."""
    await quick.create(1)
    await quick.write({0: numbered(0, 3)})
    async with started(quick.worker()) as worker:
        await worker.until_seen(p0=3)
    await transact(quick.kafka, quick.topic, {0: [b"gone"]}, abort=True)
    await add(quick, 2)
    await quick.write({1: numbered(0, 3)})
    async with started(quick.worker()) as worker:
        await worker.until_seen(p1=3)
    assert worker.values(1) == numbered(0, 3)
