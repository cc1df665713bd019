"""The loop over the raw topics: what is committed, and what is read again."""

import asyncio
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition

from services.ingest.core.flood import RECORDS
from services.ingest.core.rates import RateTable
from services.ingest.handlers.accept_batch import AcceptBatch
from services.ingest.handlers.watch_flood import FloodWatch
from services.ingest.inbound.raw_consumer import RawConsumer
from services.ingest.inbound.raw_topics import RawTopics
from services.ingest.ports import Topics
from shared.contracts.activity import DECODER
from shared.kafka.batch import ConsumedRecord
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Transient
from shared.runtime.backoff import FIRST_S
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.unit.ingest.events import encoded
from tests.unit.ingest.fakes import PARTITIONS, Consumed, FakeOutlet, FakeStops, FixedClock


@dataclass(slots=True)
class Scripted(RawConsumer):
    """A consumer of one partition in memory.

    It polls two records at a time and ends the loop behind the last one.
    """

    log: list[ConsumedRecord]
    stop: Stop
    position: int = 0
    committed: int = 0
    held: int = 0
    commit_failures: int = 0
    starts: int = 0
    _started: bool = False
    polls: list[int] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    read_committed: int | None = None
    """The offset up to which it committed records that are handed to no handler."""
    poll_fails_at: int | None = None
    """The poll at this position fails, once."""

    @property
    def started(self) -> bool:
        return self._started

    async def start(self) -> None:
        self._started = True
        self.starts += 1

    async def poll(self) -> list[ConsumedRecord]:
        if self.position == self.poll_fails_at:
            self.poll_fails_at = None
            self._started = False
            raise Transient("wedged")
        found = self.log[self.position : self.position + 2]
        self.polls.append(self.position)
        self.position += len(found)
        if not found:
            self.stop.set()
        return found

    async def commit(self, records: list[ConsumedRecord]) -> None:  # type: ignore[override] # as called
        if self.commit_failures:
            self.commit_failures -= 1
            raise Transient("rebalanced")
        self.committed = records[-1].offset + 1
        self.commits.append(self.committed)

    async def commit_read(self) -> None:
        assert self.committed == self.position, "what was read is not done yet"
        self.read_committed = self.position

    def rewind(self, records: list[ConsumedRecord]) -> None:  # type: ignore[override] # as called
        self.position = records[0].offset

    async def hold(self) -> None:
        self.held += 1
        self.stop.set()

    def release(self) -> None:
        self.held = 0

    async def close(self) -> None:
        self._started = False


def _loop(consumer: Scripted, outlet: FakeOutlet, stops: FakeStops) -> RawTopics:
    clock = FixedClock()
    accept = AcceptBatch(outlet, Topics("activity", "dead"), RateTable("USD"))
    return RawTopics(consumer, accept, FloodWatch(stops, 0.9, clock), Health(clock), clock)


def _log(count: int) -> list[ConsumedRecord]:
    return [Consumed(encoded(id=str(n)), n) for n in range(count)]


def _ids(outlet: FakeOutlet) -> list[str]:
    return [DECODER.decode(r.value or b"").id for r in outlet.sent]


async def _settled() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_committed_after_the_acknowledgement() -> None:
    """The whole batch is committed, and the group is left at the end."""
    consumer = Scripted(_log(5), Stop())
    outlet = FakeOutlet()
    await _loop(consumer, outlet, FakeStops()).consume(consumer.stop)
    assert (consumer.committed, len(outlet.sent), consumer.started) == (5, 5, False)


async def test_not_acknowledged_is_read_again() -> None:
    """Nothing is committed past a failed send, also before the first commit."""
    consumer = Scripted(_log(4), Stop())
    outlet = FakeOutlet(failures=1)
    await _loop(consumer, outlet, FakeStops()).consume(consumer.stop)
    assert consumer.polls == [0, 2, 0, 2, 4], "what was read behind it, too"
    assert (consumer.commits, _ids(outlet)) == ([2, 4], ["0", "1", "2", "3"])
    assert consumer.read_committed == 4


async def test_the_next_batch_is_decided_on_while_one_is_on_its_way() -> None:
    """Only one more is decided; it is sent once the first is committed."""
    acknowledging = asyncio.Event()
    consumer, outlet = Scripted(_log(6), Stop()), FakeOutlet(acknowledging=acknowledging)
    running = asyncio.create_task(_loop(consumer, outlet, FakeStops()).consume(consumer.stop))
    await _settled()
    assert (consumer.polls, consumer.commits, outlet.sent) == ([0, 2], [], [])
    outlet.after = acknowledging.clear
    acknowledging.set()
    await _settled()
    assert (consumer.polls, consumer.commits) == ([0, 2, 4], [2])
    assert _ids(outlet) == ["0", "1"]
    outlet.after = lambda: None
    acknowledging.set()
    await running
    assert (consumer.commits, _ids(outlet)) == ([2, 4, 6], [str(n) for n in range(6)])


async def test_a_stop_finishes_what_is_on_its_way() -> None:
    """The records that were read behind it are finished too, in order, before the group is left."""
    acknowledging = asyncio.Event()
    consumer, outlet = Scripted(_log(6), Stop()), FakeOutlet(acknowledging=acknowledging)
    running = asyncio.create_task(_loop(consumer, outlet, FakeStops()).consume(consumer.stop))
    await _settled()
    consumer.stop.set()
    await _settled()
    assert (consumer.started, consumer.commits) == (True, [])
    acknowledging.set()
    await running
    assert (consumer.started, consumer.commits) == (False, [2, 4])
    assert _ids(outlet) == ["0", "1", "2", "3"]


async def test_a_stop_when_what_is_on_its_way_fails() -> None:
    """Nothing of it or behind it is committed, and nothing behind it is sent."""
    acknowledging = asyncio.Event()
    consumer = Scripted(_log(6), Stop())
    outlet = FakeOutlet(failures=1, acknowledging=acknowledging)
    running = asyncio.create_task(_loop(consumer, outlet, FakeStops()).consume(consumer.stop))
    await _settled()
    consumer.stop.set()
    acknowledging.set()
    await running
    assert (consumer.started, consumer.commits, outlet.sent) == (False, [], [])


async def test_cancelled_with_a_batch_on_its_way() -> None:
    """The drain took too long: the send is cancelled with the loop, and nothing is committed."""
    consumer, outlet = Scripted(_log(6), Stop()), FakeOutlet(acknowledging=asyncio.Event())
    running = asyncio.create_task(_loop(consumer, outlet, FakeStops()).consume(consumer.stop))
    await _settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (consumer.started, consumer.commits) == (False, [])
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "raw-flight"]


async def test_a_failed_read_waits_for_what_is_on_its_way() -> None:
    """The batch is committed before a new member joins, never on a closed one."""
    acknowledging = asyncio.Event()
    consumer = Scripted(_log(4), Stop(), poll_fails_at=2)
    outlet = FakeOutlet(acknowledging=acknowledging)
    running = asyncio.create_task(_loop(consumer, outlet, FakeStops()).consume(consumer.stop))
    await asyncio.sleep(2 * FIRST_S)
    assert (consumer.starts, consumer.commits) == (1, [])
    acknowledging.set()
    await running
    assert (consumer.starts, consumer.commits) == (2, [2, 4])
    assert _ids(outlet) == ["0", "1", "2", "3"]


async def test_a_broker_away_while_the_next_batch_is_decided_on() -> None:
    """The next batch is read again; the one being sent is neither lost nor overtaken."""
    consumer, outlet = Scripted(_log(4), Stop()), FakeOutlet()
    failing = {2}

    async def partitions(_: str) -> int:
        if consumer.position == 4 and failing:
            failing.clear()
            raise Transient("no broker")
        return PARTITIONS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeOutlet, "partitions", staticmethod(partitions))
        await _loop(consumer, outlet, FakeStops()).consume(consumer.stop)
    assert consumer.polls == [0, 2, 2, 4]
    assert (consumer.commits, _ids(outlet)) == ([2, 4], ["0", "1", "2", "3"])


async def test_a_failed_commit_repeats_and_loses_nothing() -> None:
    """The group moved on: the records are sent again."""
    consumer = Scripted(_log(4), Stop(), commit_failures=1)
    outlet = FakeOutlet()
    await _loop(consumer, outlet, FakeStops()).consume(consumer.stop)
    assert (consumer.committed, len(outlet.sent)) == (4, 6)


async def test_a_flood_holds() -> None:
    """Refused records are dead letters and committed; nothing more is read."""
    consumer = Scripted([Consumed(b"?", n) for n in range(RECORDS + 100)], Stop())
    stops = FakeStops()
    await _loop(consumer, FakeOutlet(), stops).consume(consumer.stop)
    assert (consumer.committed, consumer.held) == (RECORDS, 1)
    assert consumer.position == RECORDS, "what was read behind it waits"
    assert len(stops.open_reasons) == 1


async def test_a_bug_that_is_no_records_ends_the_loop() -> None:
    """Such a bug must be visible; an error that one record triggers makes a dead letter instead."""

    def bug() -> None:
        raise TypeError("a bug")

    consumer = Scripted(_log(1), Stop())
    with pytest.raises(TypeError, match="a bug"):
        await _loop(consumer, FakeOutlet(after=bug), FakeStops()).consume(consumer.stop)
    assert consumer.committed == 0


def test_a_consumer_before_its_start() -> None:
    """It has no partitions and nothing to rewind."""
    consumer = RawConsumer(KafkaSettings(), ("raw",), "ingest", 10)
    consumer.rewind(_log(1))
    consumer.release()
    assert (consumer.started, consumer.assigned) == (False, set())


class Taken:
    """A consumer of aiokafka after the group has taken partition 0 away.

    It keeps what is committed, and like the library it accepts no empty commit.
    """

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, int] = {}

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("raw", 1)}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if not offsets:
            raise ValueError(offsets)
        self.committed |= offsets


async def test_a_rebalance_while_a_batch_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """This member does not commit the partition that was taken, even where all records are of it.

    It commits the rest.
    """
    consumer, inner = RawConsumer(KafkaSettings(), ("raw",), "ingest", 10), Taken()
    monkeypatch.setattr(consumer, "_inner", inner)
    await consumer.commit(_log(2))
    assert inner.committed == {}
    await consumer.commit([*_log(2), Consumed(encoded(), 7, partition=1)])
    assert inner.committed == {TopicPartition("raw", 1): 8}
