"""What is read of the broker's logs beside all consumers: ends, first waiting records, offsets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from deploy.local.stack import LocalStack
from shared.kafka import log_ends
from shared.kafka.lag import Bounds, Position
from shared.kafka.log_ends import GroupPositions, LogEnds
from shared.kafka.settings import KafkaSettings
from tests.fakes.unchecked_batches import BAD_NAME
from tests.integration.shared.environment import LIMIT_S, BrokerEnvironment
from tests.integration.shared.test_unread import write as write_batch
from tests.integration.shared.transactions import transact

pytestmark = pytest.mark.stack

AT_MS = 1_700_000_000_000
"""When the first record of a partition came; each next one a second later."""


@pytest.fixture
async def ends(place: BrokerEnvironment) -> AsyncIterator[LogEnds]:
    """Provide the reader, with partitions read anew each time."""
    made = LogEnds(place.kafka, "test-ends")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_ends, "PARTITIONS_S", 0.0)
        yield made
    await made.close()


async def write(place: BrokerEnvironment, partition: int, count: int) -> None:
    """Append one batch of `count` records, a second apart by their senders."""
    producer = AIOKafkaProducer(**place.kafka.client_kwargs("test"), linger_ms=50)
    await producer.start()
    sent = [
        await producer.send(
            place.topic, b"v", partition=partition, timestamp_ms=AT_MS + 1_000 * number
        )
        for number in range(count)
    ]
    await asyncio.gather(*sent)
    await producer.stop()


async def grow(settings: KafkaSettings, topic: str, partitions: int) -> None:
    """Add partitions to a topic."""
    admin = AIOKafkaAdminClient(**settings.client_kwargs("test"))
    await admin.start()
    await admin.create_partitions({topic: NewPartitions(total_count=partitions)})
    await admin.close()


async def found(ends: LogEnds, place: BrokerEnvironment, expected: dict[int, Bounds]) -> None:
    """Read until the topic's bounds are these."""
    wanted = {place.tp(number): bounds for number, bounds in expected.items()}
    seen: object = None
    try:
        async with asyncio.timeout(LIMIT_S):
            while (seen := await ends.bounds([place.topic])) != wanted:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{seen}, not {wanted}") from None


async def test_bounds_follow_the_logs(place: BrokerEnvironment, ends: LogEnds) -> None:
    """Deleted records, a partition without any, new partitions, a topic that is made anew."""
    assert await ends.bounds([place.topic]) == {}
    assert await ends.bounds([]) == {}
    await place.create(2)
    await write(place, 0, 3)
    await found(ends, place, {0: Bounds(0, 3), 1: Bounds(0, 0)})
    await place.delete_records(0, 1)
    await found(ends, place, {0: Bounds(1, 3), 1: Bounds(0, 0)})
    await grow(place.kafka, place.topic, 3)
    await write(place, 2, 1)
    await found(ends, place, {0: Bounds(1, 3), 1: Bounds(0, 0), 2: Bounds(0, 1)})
    await place.delete()
    await place.create(1)
    await found(ends, place, {0: Bounds(0, 0)})


async def test_a_head_is_the_first_record_from_an_offset_on(
    place: BrokerEnvironment, ends: LogEnds
) -> None:
    """Also within a batch; None at the end; only what was asked for, and in any order of asking."""
    await place.create(2)
    await write(place, 0, 3)
    await write(place, 1, 2)
    bounds = await ends.bounds([place.topic])
    for offsets in ({0: 0, 1: 0}, {0: 2}, {0: 1, 1: 1}, {0: 0}):
        asked = {place.tp(number): at for number, at in offsets.items()}
        came = {tp: AT_MS / 1_000 + at for tp, at in asked.items()}
        assert await ends.heads(asked, bounds) == came
    assert await ends.heads({place.tp(0): 3, place.tp(1): 0}, bounds) == {
        place.tp(0): None,
        place.tp(1): AT_MS / 1_000,
    }
    assert await ends.heads({}, bounds) == {}


async def test_a_record_that_cannot_be_read_is_a_head(
    place: BrokerEnvironment, ends: LogEnds
) -> None:
    """Its time is not known: 0, for which lag counts from the first reading."""
    await place.create(1)
    await write_batch(place, [(b"bad", BAD_NAME)], "none")
    bounds = await ends.bounds([place.topic])
    assert await ends.heads({place.tp(0): 0}, bounds) == {place.tp(0): 0.0}


async def test_markers_of_transactions_are_no_records(
    place: BrokerEnvironment, ends: LogEnds, apache_kafka: LocalStack
) -> None:
    """Nothing is to be read where all was aborted; behind it the next committed record is."""
    del apache_kafka
    await place.create(1)
    await transact(place.kafka, place.topic, {0: [b"gone", b"gone"]}, abort=True)
    await found(ends, place, {0: Bounds(0, 3)})
    bounds = await ends.bounds([place.topic])
    assert await ends.heads({place.tp(0): 0}, bounds) == {place.tp(0): None}
    await transact(place.kafka, place.topic, {0: [b"kept"]}, abort=False)
    await found(ends, place, {0: Bounds(0, 5)})
    (head,) = (await ends.heads({place.tp(0): 0}, await ends.bounds([place.topic]))).values()
    assert head is not None
    assert head > AT_MS / 1_000


async def test_a_broker_that_does_not_answer_leaves_nothing_behind(
    place: BrokerEnvironment, ends: LogEnds, stack: LocalStack
) -> None:
    """The caller's time-out ends a reading; closed, the next one is true again."""
    await place.create(1)
    await write(place, 0, 1)
    await found(ends, place, {0: Bounds(0, 1)})
    stack.kafka.freeze()
    try:
        with pytest.raises((KafkaError, OSError, TimeoutError)):
            async with asyncio.timeout(1):
                await ends.bounds([place.topic])
        async with asyncio.timeout(LIMIT_S):
            await ends.close()
    finally:
        stack.kafka.thaw()
    await write(place, 0, 1)
    await found(ends, place, {0: Bounds(0, 2)})


async def test_positions_of_a_group_are_what_it_committed(place: BrokerEnvironment) -> None:
    """A group that has committed nothing, and a partition that it has not, have no position.

    A broker on which no group has been yet makes the topic of offsets first; as the watch does, the
    test asks again.
    """
    await place.create(2)
    read = GroupPositions(place.kafka, f"positions-{place.mark}")

    async def asked() -> dict[tuple[str, int], Position]:
        async with asyncio.timeout(LIMIT_S):
            while True:
                with contextlib.suppress(GroupCoordinatorNotAvailableError):
                    return await read()
                await asyncio.sleep(0.1)

    try:
        assert await asked() == {}
        await place.commit(f"positions-{place.mark}", {1: 7})
        assert await read() == {place.tp(1): Position(7)}
        await read.close()
        assert await read() == {place.tp(1): Position(7)}
    finally:
        await read.close()
