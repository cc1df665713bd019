"""Fenced consumers in a group: partitions change hands without gap or duplicate (invariant 2)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ConsumerStoppedError, KafkaError

from shared.kafka.batch import Batch
from shared.kafka.membership import SESSION_TIMEOUT_MS
from shared.kafka.quarantine import PassOver, Quarantine
from shared.kafka.worker import work
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Move
from shared.runtime.health import Health
from shared.runtime.service import DRAIN_SECONDS_MAX, Stop
from tests.fakes.clock import SetClock
from tests.integration.shared.environment import LIMIT_S, BrokerEnvironment, Worker

pytestmark = pytest.mark.stack


def numbered(count: int, first: int = 0) -> list[str]:
    """Return distinct values."""
    return [str(n) for n in range(first, first + count)]


@asynccontextmanager
async def turning(worker: Worker) -> AsyncIterator[Worker]:
    """Run a member that polls by itself for the length of a block."""
    await worker.consumer.start()
    turns = asyncio.create_task(worker.until(lambda: False))
    try:
        yield worker
    finally:
        turns.cancel()
        await asyncio.gather(turns, return_exceptions=True)
        await worker.consumer.close()


async def until(place: BrokerEnvironment, ends: dict[int, int]) -> None:
    """Wait until the ledger has these offsets."""
    async with asyncio.timeout(LIMIT_S):
        while await place.stored() != ends:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("apache_kafka")  # the embedded one keeps dead members
async def test_a_second_worker_comes_and_goes(place: BrokerEnvironment) -> None:
    """Records keep coming while a second worker joins and leaves.

    Each is committed once, by one of the two, and in order; both process a part.
    """
    partitions = range(4)
    await place.create(len(partitions))

    async def write(first: int, count: int) -> None:
        for n in range(first, first + count, 20):
            await place.write(dict.fromkeys(partitions, numbered(20, n)))

    async with turning(place.worker("one", records_max=30)) as one:
        await write(0, 100)
        async with turning(place.worker("two", records_max=30)) as two:
            await write(100, 100)
            async with asyncio.timeout(LIMIT_S):
                while len(two.consumer.claims) < 2:  # noqa: ASYNC110 (no event)
                    await asyncio.sleep(0.02)
            await write(200, 100)
            await until(place, dict.fromkeys(partitions, 300))
        await write(300, 100)
        await until(place, dict.fromkeys(partitions, 400))
    for partition in partitions:
        both = [int(v) for worker in (one, two) for v in worker.values(partition)]
        assert sorted(both) == list(range(400))
        for worker in (one, two):
            values = [int(v) for v in worker.values(partition)]
            assert values == sorted(values)
    assert any(two.seen.values())


async def test_a_partition_that_is_gone_already_has_no_end(place: BrokerEnvironment) -> None:
    """The group has taken the partitions away and the member does not know it yet.

    Their ends are unknown, and reading them is no error.
    """
    await place.create(2)
    worker = place.worker()
    await worker.consumer.start()
    try:
        await place.write({0: numbered(10), 1: numbered(10)})
        await worker.until(lambda: len(worker.values(0)) == len(worker.values(1)) == 10)
        assert worker.consumer._ends() == {(place.topic, 0): 10, (place.topic, 1): 10}
        inner = worker.consumer._inner
        assert inner is not None
        inner.unsubscribe()
        assert len(worker.consumer.claims) == 2
        assert worker.consumer._ends() == {}
    finally:
        await worker.consumer.close()


async def test_a_fenced_partition_is_dropped_and_claimed_again(place: BrokerEnvironment) -> None:
    """Another process raises the epoch of one partition, and the whole batch is refused.

    The other partitions are processed again at once, the lost one later, from the ledger's offset.
    """
    await place.create(2)
    worker = place.worker()
    await worker.consumer.start()
    try:
        await worker.until(lambda: len(worker.consumer.claims) == 2)
        await place.write({0: numbered(10), 1: numbered(10)})
        await place.ledger.take_over(place.tp(0), "a thief")
        await worker.until(lambda: bool(worker.lost))
        assert set(worker.consumer.claims) == {place.tp(1)}
        await worker.until_seen(p1=10)
        assert worker.values(0) == []
        await worker.until_seen(p0=10)
    finally:
        await worker.consumer.close()
    assert worker.lost == [place.tp(0)]
    assert worker.values(0) == worker.values(1) == numbered(10)
    assert await place.stored() == {0: 10, 1: 10}


async def test_an_operator_rewinds_a_quiet_partition(place: BrokerEnvironment) -> None:
    """No record comes that the fence could refuse.

    The owner notices by itself that its claim is no longer valid, and reads again.
    """
    await place.create(2)
    await place.write({0: numbered(5), 1: numbered(5)})
    async with turning(place.worker()) as worker:
        await until(place, {0: 5, 1: 5})
        assert await place.ledger.reset(place.tp(0), 3)
        await until(place, {0: 5, 1: 5})
    assert worker.values(0) == [*numbered(5), "3", "4"]
    assert worker.values(1) == numbered(5)


async def test_kafka_shows_how_far_the_ledger_is(place: BrokerEnvironment) -> None:
    """The group's committed offsets follow the ledger, for lag displays."""
    await place.create(2)
    await place.write({0: numbered(7), 1: numbered(3)})
    async with turning(place.worker()):
        await until(place, {0: 7, 1: 3})
        admin = AIOKafkaAdminClient(**place.kafka.client_kwargs("test"))
        await admin.start()
        shown: dict[int, int] = {}
        async with asyncio.timeout(LIMIT_S):
            while shown != {0: 7, 1: 3}:
                found = await admin.list_consumer_group_offsets(f"ebbwatch-fenced-{place.mark}")
                shown = {tp.partition: at.offset for tp, at in found.items()}
        await admin.close()


async def test_a_partition_lost_meanwhile_is_not_claimed(place: BrokerEnvironment) -> None:
    """While one partition is being claimed the group takes another one away.

    A late claim does not fence the new owner.
    """
    await place.create(2)

    async def revoke(_: object) -> None:
        worker.consumer.lose([place.tp(1)])

    worker = place.worker(on_claim=revoke)
    await worker.consumer.start()
    await worker.until(lambda: place.tp(0) in worker.consumer.claims)
    await worker.consumer.close()
    assert [row["epoch"] for row in await place.ledger.list_all()] == [1, 0]


async def test_a_hot_partition_starves_no_other(place: BrokerEnvironment) -> None:
    """Ten records wait only a few batches behind two thousand records of another partition."""
    await place.create(2)
    await place.write({0: numbered(2_000), 1: numbered(10)})
    worker = place.worker(records_max=40)
    await worker.consumer.start()
    await worker.until_seen(p1=10)
    await worker.consumer.close()
    assert len(worker.seen[0]) <= 200


async def test_a_broken_member_is_replaced(place: BrokerEnvironment) -> None:
    """An error of the client library can mean that its group member is stuck for good.

    It is given up, and a new one continues at the ledger's offset.
    """
    await place.create(2)
    await place.write({0: numbered(5), 1: numbered(5)})
    worker = place.worker()
    await worker.consumer.start()
    await worker.until_seen(p0=5, p1=5)
    broken = worker.consumer._inner
    assert broken is not None

    async def wedged(*_: object, **__: object) -> None:
        raise KafkaError("unexpected error in heartbeat")

    broken.getmany = wedged
    await place.write({0: numbered(5, 5), 1: numbered(5, 5)})
    with pytest.raises(Transient):
        await worker.until(lambda: False)
    assert not worker.consumer.started
    assert worker.consumer.claims == {}
    await worker.consumer.start()
    await worker.until_seen(p0=10, p1=10)
    await worker.consumer.close()
    assert worker.values(0) == worker.values(1) == numbered(10)


async def test_a_stop_during_the_start_closes_the_new_connection(
    place: BrokerEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker answers slowly and the service is asked to stop: the new connection is closed."""
    await place.create(1)
    begun: asyncio.Future[AIOKafkaConsumer] = asyncio.get_running_loop().create_future()

    async def never(member: AIOKafkaConsumer) -> None:
        begun.set_result(member)
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConsumer, "topics", never)
    worker = place.worker()
    loop = Loop(worker)
    member = await begun
    await loop.end()
    assert not worker.consumer.started
    with pytest.raises(ConsumerStoppedError):
        await member.getmany()
    assert not member._client._conns


class Loop:
    """`work` as a task, with a handler that a test can disturb once."""

    def __init__(self, worker: Worker, *, after_commit: Exception | None = None) -> None:
        self._worker = worker
        self._after_commit = after_commit
        self.stop = Stop()
        ledger = worker.ledger
        passed = PassOver(engine=worker.engine, ledger=ledger, observe=worker.parked.append)
        quarantine = Quarantine(ledger.unfinished, passed)
        self.task = asyncio.create_task(
            work(worker.consumer, self._handle, quarantine, self.stop, Health(SetClock()), "test")
        )

    async def _handle(self, batch: Batch) -> Sequence[Move]:
        moves = [batch.move(tp, len(records), {}) for tp, records in batch.records.items()]
        async with unit_of_work(self._worker.engine) as transaction:
            await self._worker.ledger.advance(transaction, moves)
        for (_, partition), records in batch.records.items():
            self._worker.seen[partition] += records
        if moves and self._after_commit is not None:
            error, self._after_commit = self._after_commit, None
            raise error
        return moves

    async def end(self) -> None:
        """Stop it as a service does, within the time limit of its drain."""
        self.stop.set()
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            await self.task


@pytest.mark.usefixtures("apache_kafka")  # the embedded one keeps dead members
async def test_an_unknown_outcome_is_read_from_the_ledger(place: BrokerEnvironment) -> None:
    """The connection is lost after the COMMIT, and the outcome is unknown.

    The ledger has it, and no record is handed out twice.
    """
    await place.create(2)
    worker = place.worker(records_max=8)
    loop = Loop(worker, after_commit=Transient("connection lost in COMMIT"))
    await place.write({0: numbered(50), 1: numbered(50)})
    await until(place, {0: 50, 1: 50})
    await loop.end()
    assert worker.values(0) == worker.values(1) == numbered(50)


async def test_a_bug_ends_the_loop_and_leaves_the_group(place: BrokerEnvironment) -> None:
    """Any error but Transient and Fenced comes out of `work`.

    The member has left the group, so that another one takes over at once.
    """
    await place.create(1)
    await place.write({0: numbered(3)})
    loop = Loop(place.worker(), after_commit=RuntimeError("a bug"))
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(RuntimeError, match="a bug"):
            await loop.task
    await place.write({0: numbered(3, 3)})
    async with asyncio.timeout(SESSION_TIMEOUT_MS / 1000), turning(place.worker("two")) as two:
        await until(place, {0: 6})
    assert two.values(0) == numbered(3, 3)


PEER_SESSION_MS = 14_000
"""Longer than a service may take to end."""


class Silent(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    """A rebalance listener that does nothing."""

    def on_partitions_revoked(self, revoked: object) -> None:
        """Do nothing."""

    def on_partitions_assigned(self, assigned: object) -> None:
        """Do nothing."""


async def _die(member: AIOKafkaConsumer) -> None:
    """Stop the heartbeats of this group member, as if its machine had lost power."""
    coordinator = member._coordinator
    for task in (coordinator._heartbeat_task, coordinator._coordination_task):
        task.cancel()
    coordinator.generation = -1  # so that its end does not announce to the broker that it leaves
    await asyncio.gather(member.stop(), return_exceptions=True)


async def test_stops_in_time_while_the_group_waits_for_a_dead_member(
    place: BrokerEnvironment,
) -> None:
    """A member died and the broker waits for its session to expire before the group continues.

    A worker that is asked to stop in that time still ends within the promised time.
    """
    await place.create(2)
    peer = AIOKafkaConsumer(
        **place.kafka.client_kwargs("test"),
        group_id=f"ebbwatch-fenced-{place.mark}",
        enable_auto_commit=False,
        session_timeout_ms=PEER_SESSION_MS,
    )
    peer.subscribe([place.topic], listener=Silent())
    await peer.start()
    await _die(peer)
    worker = place.worker()
    loop = Loop(worker)
    await asyncio.sleep(1)  # it asks to join, and waits
    await loop.end()
    assert await place.stored() == {}
    await asyncio.gather(*worker.consumer._leaving)  # where a process would just end
