"""The end of a process changes nothing in the stream."""

import asyncio
import signal
from collections import defaultdict

import pytest

from shared.contracts.activity import DECODER
from shared.kafka.batch import ConsumedRecord as Consumed
from shared.kafka.producer import Producer, Record
from tests.integration.ingest.running import PARTITIONS, ServiceEnvironment, ingest
from tests.unit.ingest.events import encoded

pytestmark = pytest.mark.stack

EVENTS = 6_000
SMALL_BATCHES = {"EBBWATCH_INGEST_BATCH_RECORDS_MAX": "20"}
"""Hundreds of batches, so that a signal after the first hundred events comes in the middle."""

DRAIN_S_MAX = 10.0
"""The longest time that a service may take to end after SIGTERM."""


async def _produce(place: ServiceEnvironment, upstream: Producer) -> None:
    await upstream.send(
        Record(
            place.raw,
            str(n).encode(),
            encoded(id=str(n), subject=f"customer-{n % 50}"),
            partition=n % 50 % PARTITIONS,
        )
        for n in range(EVENTS)
    )


def _first_seen(records: list[Consumed]) -> tuple[dict[str, list[int]], int]:
    """Return event numbers by customer in the order of first copies, and the number of repeats.

    Fails when a copy differs from the first.
    """
    contents: dict[int, bytes] = {}
    order: dict[str, list[int]] = defaultdict(list)
    for record in records:
        value = record.value or b""
        event = DECODER.decode(value)
        number = int(event.id)
        if number in contents:
            assert contents[number] == value, "sent again with other content"
            continue
        contents[number] = value
        order[event.subject].append(number)
    return order, len(records) - len(contents)


async def test_kill_loses_nothing(place: ServiceEnvironment, upstream: Producer) -> None:
    """The service is killed in the middle and started again.

    Every event arrives, in order per customer; what is sent twice is byte for byte the same
    (invariant 1 depends on that).
    """
    await _produce(place, upstream)
    async with ingest(place, SMALL_BATCHES) as service:
        await service.accepted(100)
        await service.stop(signal.SIGKILL)
    assert len(await place.read(place.activity, 100)) < EVENTS, "not killed in the middle"
    async with ingest(place):
        await place.committed(dict.fromkeys(range(PARTITIONS), EVENTS // PARTITIONS))
    order, _ = _first_seen(await place.read(place.activity, EVENTS))
    assert sum(map(len, order.values())) == EVENTS
    assert all(numbers == sorted(numbers) for numbers in order.values())


@pytest.mark.usefixtures("apache_kafka")  # the embedded one keeps dead members
async def test_replicas_come_and_go(place: ServiceEnvironment, upstream: Producer) -> None:
    """A second replica takes over partitions in the middle, and the first is killed.

    Nothing is lost, and what is sent twice is the same.
    """
    await _produce(place, upstream)
    async with ingest(place, SMALL_BATCHES) as first:
        await first.accepted(100)
        async with ingest(place):
            await first.stop(signal.SIGKILL)
            await place.committed(dict.fromkeys(range(PARTITIONS), EVENTS // PARTITIONS))
    order, _ = _first_seen(await place.read(place.activity, EVENTS))
    assert sum(map(len, order.values())) == EVENTS
    assert all(numbers == sorted(numbers) for numbers in order.values())


async def test_sigterm_drains(place: ServiceEnvironment, upstream: Producer) -> None:
    """On SIGTERM in the middle, the service ends in time with status 0.

    It has committed exactly what it sent, so the next process neither loses nor repeats an event.
    """
    await _produce(place, upstream)
    async with ingest(place, SMALL_BATCHES) as service:
        await service.accepted(100)
        async with asyncio.timeout(DRAIN_S_MAX):
            assert await service.stop() == 0
    sent = len(await place.read(place.activity, 100))
    assert sent < EVENTS, "not stopped in the middle"
    assert sum((await place.committed(dict.fromkeys(range(PARTITIONS), 0))).values()) == sent
    async with ingest(place):
        await place.committed(dict.fromkeys(range(PARTITIONS), EVENTS // PARTITIONS))
    order, repeated = _first_seen(await place.read(place.activity, EVENTS))
    assert (sum(map(len, order.values())), repeated) == (EVENTS, 0)
