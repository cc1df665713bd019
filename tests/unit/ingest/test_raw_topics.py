"""The loop over the raw topics: what is committed, and what is read again."""

from dataclasses import dataclass, field

import pytest

from services.ingest.core.flood import RECORDS
from services.ingest.core.rates import RateTable
from services.ingest.handlers.accept_batch import AcceptBatch
from services.ingest.handlers.watch_flood import FloodWatch
from services.ingest.inbound.raw_consumer import AnyRecord, RawConsumer
from services.ingest.inbound.raw_topics import RawTopics
from services.ingest.ports import Topics
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Transient
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.unit.ingest.events import encoded
from tests.unit.ingest.fakes import Consumed, FakeOutlet, FakeStops, FixedClock


@dataclass(slots=True)
class Scripted(RawConsumer):
    """A consumer of one partition in memory; polls in twos, ends the loop behind the last."""

    log: list[AnyRecord]
    stop: Stop
    position: int = 0
    committed: int = 0
    held: int = 0
    commit_failures: int = 0
    starts: int = 0
    _started: bool = False
    polls: list[int] = field(default_factory=list)

    @property
    def started(self) -> bool:
        return self._started

    async def start(self) -> None:
        self._started = True
        self.starts += 1

    async def poll(self) -> list[AnyRecord]:
        found = self.log[self.position : self.position + 2]
        self.polls.append(self.position)
        self.position += len(found)
        if not found:
            self.stop.set()
        return found

    async def commit(self, records: list[AnyRecord]) -> None:  # type: ignore[override] # as called
        if self.commit_failures:
            self.commit_failures -= 1
            raise Transient("rebalanced")
        self.committed = records[-1].offset + 1

    def rewind(self, records: list[AnyRecord]) -> None:  # type: ignore[override] # as called
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


def _log(count: int) -> list[AnyRecord]:
    return [Consumed(encoded(id=str(n)), n) for n in range(count)]


async def test_committed_after_the_acknowledgement() -> None:
    """All of it, and the group is left at the end."""
    consumer = Scripted(_log(5), Stop())
    outlet = FakeOutlet()
    await _loop(consumer, outlet, FakeStops()).consume(consumer.stop)
    assert (consumer.committed, len(outlet.sent), consumer.started) == (5, 5, False)


async def test_not_acknowledged_is_read_again() -> None:
    """Nothing is committed past a failed send, also before anything was ever committed."""
    consumer = Scripted(_log(4), Stop())
    outlet = FakeOutlet(failures=1)
    await _loop(consumer, outlet, FakeStops()).consume(consumer.stop)
    assert consumer.polls == [0, 0, 2, 4]
    assert (consumer.committed, len(outlet.sent)) == (4, 4)


async def test_a_failed_commit_repeats_and_loses_nothing() -> None:
    """The group moved on: what was sent is sent again."""
    consumer = Scripted(_log(4), Stop(), commit_failures=1)
    outlet = FakeOutlet()
    await _loop(consumer, outlet, FakeStops()).consume(consumer.stop)
    assert (consumer.committed, len(outlet.sent)) == (4, 6)


async def test_a_flood_holds() -> None:
    """What was refused is parked and committed; nothing more is read."""
    consumer = Scripted([Consumed(b"?", n) for n in range(RECORDS + 100)], Stop())
    stops = FakeStops()
    await _loop(consumer, FakeOutlet(), stops).consume(consumer.stop)
    assert (consumer.committed, consumer.held) == (RECORDS, 1)
    assert len(stops.open_reasons) == 1


async def test_a_bug_ends_the_loop() -> None:
    """It is to be seen, not survived."""
    consumer = Scripted([Consumed(3, 0)], Stop())  # type: ignore[arg-type] # the bug
    with pytest.raises(TypeError):
        await _loop(consumer, FakeOutlet(), FakeStops()).consume(consumer.stop)
    assert consumer.committed == 0


def test_a_consumer_before_its_start() -> None:
    """It has no partitions and nothing to rewind."""
    consumer = RawConsumer(KafkaSettings(), ("raw",), "ingest", 10)
    consumer.rewind(_log(1))
    consumer.release()
    assert (consumer.started, consumer.assigned) == (False, set())
