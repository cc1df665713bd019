"""Where a fenced consumer begins to read, and where it refuses to (invariants 1, 2 and 7)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.kernel.errors import Transient
from tests.integration.shared.environment import LIMIT_S, BrokerEnvironment, Worker

pytestmark = pytest.mark.stack


def numbered(first: int, count: int, of: str = "r") -> list[str]:
    """Return distinct values."""
    return [f"{of}{n}" for n in range(first, first + count)]


@asynccontextmanager
async def started(worker: Worker) -> AsyncIterator[Worker]:
    """Run a member of the group for the length of a block."""
    await worker.consumer.start()
    try:
        yield worker
    finally:
        await worker.consumer.close()


async def left_over(worker: Worker, records: int) -> list[str]:
    """Return the values of the first batch with so many records; none of it is consumed."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            batch = await worker.consumer.poll()
            worker.consumer.moved(batch, [])
            found = [r for of_one in batch.records.values() for r in of_one]
            if len(found) == records:
                return [(r.value or b"").decode() for r in found]
            assert len(found) < records


async def test_what_a_turn_left_over_is_topped_up(place: BrokerEnvironment) -> None:
    """The records that a batch left over are topped up, in order and up to the bound.

    A batch that consumes up to the next tick gets more than its own rest the next time.
    """
    await place.create(1)
    await place.write({0: numbered(0, 2)})
    async with started(place.worker(records_max=5)) as worker:
        assert await left_over(worker, 2) == numbered(0, 2)
        await place.write({0: numbered(2, 4)})
        assert await left_over(worker, 5) == numbered(0, 5)
        await worker.until_seen(p0=6)
    assert worker.values(0) == numbered(0, 6)


async def test_begins_at_the_start_of_the_log(place: BrokerEnvironment) -> None:
    """No offset is stored: everything that the log still has is read, in order.

    A partition begins behind its first records where retention deleted them.
    """
    await place.create(2)
    await place.write({0: numbered(0, 30), 1: numbered(0, 10)})
    await place.delete_records(1, before=4)
    async with started(place.worker(records_max=7)) as worker:
        await worker.until_seen(p0=30, p1=6)
    assert worker.values(0) == numbered(0, 30)
    assert worker.values(1) == numbered(4, 6)
    assert await place.stored() == {0: 30, 1: 10}


async def test_an_empty_partition_is_claimed_and_waited_for(place: BrokerEnvironment) -> None:
    """The partition is settled without a record; later ones are read from the first one on."""
    await place.create(1)
    async with started(place.worker()) as worker:
        await worker.until(lambda: worker.consumer.all_claimed)
        assert set(worker.consumer.claims) == {place.tp(0)}
        await place.write({0: ["late"]})
        await worker.until_seen(p0=1)
    assert worker.values(0) == ["late"]


@pytest.mark.parametrize("committed", [0, 20, 40, 4_000])
async def test_the_ledger_is_the_truth(place: BrokerEnvironment, committed: int) -> None:
    """Kafka's committed offset lies behind, before, at or beyond the end, and is ignored.

    Records that were fetched from it before the seek are never handed out.
    """
    await place.create(1)
    await place.write({0: numbered(0, 40)})
    async with started(place.worker(records_max=30)) as first:
        await first.until_seen(p0=30)
    assert (await place.stored())[0] == 30
    await place.commit(f"fenced-{place.mark}", {0: committed})
    async with started(place.worker()) as second:
        await second.until_seen(p0=10)
        for _ in range(5):
            await second.turn()
    assert second.values(0) == numbered(30, 10)


async def test_nothing_fetched_before_the_claim_is_handed_out(place: BrokerEnvironment) -> None:
    """The claim takes long (it sends a former owner's outbox first), and the client can fetch.

    It fetches from Kafka's offset. No record is handed out before the claim, and none is skipped
    after it.
    """
    await place.create(1)
    await place.write({0: numbered(0, 50)})
    await place.commit(f"fenced-{place.mark}", {0: 25})
    claiming, go = asyncio.Event(), asyncio.Event()

    async def slow(_: object) -> None:
        claiming.set()
        await go.wait()

    async with started(place.worker(on_claim=slow)) as worker:
        turning = asyncio.create_task(worker.until_seen(p0=50))
        await claiming.wait()
        await asyncio.sleep(0.3)  # long enough to fetch what must not be handed out
        assert not any(worker.seen.values())
        go.set()
        await turning
    assert worker.values(0) == numbered(0, 50)


async def test_another_log_stops_the_partition(place: BrokerEnvironment) -> None:
    """The topic was recreated and has other records at our offsets.

    That partition stops with a reason and reads nothing; one with the same records continues.
    """
    await place.create(2)
    await place.write({0: numbered(0, 10), 1: numbered(0, 10)})
    async with started(place.worker(records_max=20)) as worker:
        await worker.until_seen(p0=10, p1=10)
    await place.delete()
    await place.create(2)
    await place.write({0: numbered(0, 20, of="other")})
    await place.ledger.reset(place.tp(1), 0)
    async with started(place.worker()) as worker:
        await place.write({1: ["fits"]})
        await worker.until_seen(p1=1)
        assert worker.consumer.all_claimed
    assert worker.values(1) == ["fits"]
    assert worker.values(0) == []
    assert set(await place.stopped()) == {0}
    assert "not the one we consumed" in (await place.stopped())[0]
    assert await place.stored() == {0: 10, 1: 1}


async def test_a_shorter_log_stops_the_partition(place: BrokerEnvironment) -> None:
    """The broker lost its data: the log ends before our offset."""
    await place.create(2)
    await place.write({0: numbered(0, 10), 1: numbered(0, 3)})
    async with started(place.worker()) as worker:
        await worker.until_seen(p0=10, p1=3)
    await place.delete()
    await place.create(2)
    await place.write({0: numbered(0, 9)})
    async with started(place.worker()) as worker:
        await worker.until(lambda: worker.consumer.all_claimed)
        await worker.turn()
    assert not any(worker.seen.values())
    reasons = await place.stopped()
    assert "ends at 9, before our offset 10" in reasons[0]
    assert "ends at 0, before our offset 3" in reasons[1]


async def test_a_log_that_begins_after_us_stops_the_partition(place: BrokerEnvironment) -> None:
    """Retention passed our offset while no consumer read.

    Records are gone, so an operator has to decide; the other partition goes on.
    """
    await place.create(2)
    await place.write({0: numbered(0, 10), 1: numbered(0, 10)})
    async with started(place.worker(records_max=10)) as worker:
        await worker.until_seen(p0=5, p1=5)
    at = (await place.stored())[0]
    assert at is not None
    await place.write({0: numbered(10, 10), 1: numbered(10, 10)})
    await place.delete_records(0, before=at + 1)
    async with started(place.worker()) as worker:
        await worker.until(lambda: "r19" in worker.values(1))
        assert worker.consumer.all_claimed
    assert worker.values(0) == []
    assert f"begins at {at + 1}, after our offset {at}" in (await place.stopped())[0]


async def test_retention_up_to_our_offset_is_harmless(place: BrokerEnvironment) -> None:
    """Only records that we have read are deleted.

    The record before our offset can no longer be compared, and this is not necessary.
    """
    await place.create(1)
    await place.write({0: numbered(0, 5)})
    async with started(place.worker()) as worker:
        await worker.until_seen(p0=5)
    await place.write({0: numbered(5, 5)})
    await place.delete_records(0, before=5)
    async with started(place.worker()) as worker:
        await worker.until_seen(p0=5)
    assert worker.values(0) == numbered(5, 5)
    assert await place.stopped() == {}


async def test_retention_that_overtakes_a_reader_stops_the_partition(
    place: BrokerEnvironment,
) -> None:
    """The offset is out of range during reading: no silent jump to either end of the log."""
    await place.create(2)
    await place.write({0: numbered(0, 5), 1: numbered(0, 5)})
    async with started(place.worker()) as worker:
        await worker.until_seen(p0=5, p1=5)
        worker.consumer.assign({place.tp(0)})  # paused, as while PostgreSQL is away
        await place.write({0: numbered(5, 20)})
        await place.delete_records(0, before=15)
        async with asyncio.timeout(LIMIT_S):
            while not await place.stopped():
                await worker.turn()
        await place.write({1: numbered(5, 5)})
        await worker.until_seen(p1=10)
    assert worker.values(0) == numbered(0, 5)


async def test_a_stopped_partition_starves_no_other(place: BrokerEnvironment) -> None:
    """A partition was stopped before this worker started, and Kafka has no offset of it.

    The others are read, and the stopped one is reported rather than counted as settled.
    """
    await place.create(3)
    await place.write({n: numbered(0, 5) for n in range(3)})
    await place.ledger.grow(place.topic, 3, {})
    await place.ledger.stop(await place.ledger.take_over(place.tp(1), "before"), "for the test")
    async with started(place.worker(records_max=3)) as worker:
        await worker.until_seen(p0=5, p2=5)
        assert worker.consumer.all_claimed
    assert worker.values(1) == []


async def test_an_operator_resumes_without_a_restart(place: BrokerEnvironment) -> None:
    """After `reset` the former owner claims the partition again by itself."""
    await place.create(2)
    await place.write({0: numbered(0, 5), 1: numbered(0, 5)})
    await place.ledger.grow(place.topic, 2, {})
    await place.ledger.stop(await place.ledger.take_over(place.tp(1), "before"), "for the test")
    async with started(place.worker()) as worker:
        await worker.until_seen(p0=5)
        await place.ledger.reset(place.tp(1), 2)
        await worker.until_seen(p1=3)
    assert worker.values(1) == numbered(2, 3)


async def test_a_topic_that_is_not_there_passes(place: BrokerEnvironment) -> None:
    """Started before the topic exists, it raises Transient; then it works."""
    worker = place.worker()
    with pytest.raises(Transient):
        await worker.consumer.start()
    await place.create(1)
    await place.write({0: ["a"]})
    async with started(worker):
        await worker.until_seen(p0=1)
