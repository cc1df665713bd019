"""Raw records are noted before the work and passed over after five deaths; in memory."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.ingest.core.accept import accepted
from services.ingest.core.rates import RateTable
from services.ingest.handlers import accept_batch
from services.ingest.handlers.accept_batch import AcceptBatch
from services.ingest.handlers.watch_flood import FloodWatch
from services.ingest.inbound.raw_topics import RawTopics
from services.ingest.ports import Topics
from shared.kafka.batch import ConsumedRecord
from shared.kafka.quarantine import BATCH_DEATHS_MAX, DEATHS_MAX, MARKED_BATCHES, REASON
from shared.kernel.errors import Transient
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.unit.ingest.events import encoded
from tests.unit.ingest.fakes import Consumed, FakeOutlet, FakeStops, FixedClock
from tests.unit.ingest.test_raw_topics import Scripted
from tests.unit.shared.test_quarantine import Rows

BAD = "bad-7"


class Death(BaseException):
    """Stands for the end of the process in the middle of its work."""


@dataclass
class Marks(Rows):
    """The notes that a death leaves; deleted after the commit."""

    dead: bool = False
    finishes: list[dict[tuple[str, int], int]] = field(default_factory=list)

    async def finished(self, moved: Any) -> None:
        """Delete the notes as `UnfinishedRecords` does."""
        self.finishes.append(dict(moved))
        for tp, at in moved.items():
            row = self.rows.get(tp)
            if row is not None:
                self.rest(tp, at, at)


class Ours(Scripted):
    """A group member to which partition 0 is assigned."""

    @property
    def assigned(self) -> set[tuple[str, int]]:
        return {("raw", 0)}


def _log(count: int) -> list[ConsumedRecord]:
    return [Consumed(encoded(id=BAD if n == 7 else str(n)), n) for n in range(count)]


def _loop(consumer: Scripted, outlet: FakeOutlet, marks: Marks) -> RawTopics:
    clock = FixedClock()
    accept = AcceptBatch(outlet, Topics("activity", "dead"), RateTable("USD"))
    flood = FloodWatch(FakeStops(), 0.9, clock)
    return RawTopics(consumer, accept, flood, Health(clock), clock, marks)


async def test_only_the_record_that_kills_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    original = accepted

    def planted(value: bytes, *rest: Any) -> Any:
        if BAD.encode() in value:
            raise Death
        return original(value, *rest)

    monkeypatch.setattr(accept_batch, "accepted", planted)
    outlet, marks, at, deaths = FakeOutlet(), Marks(), 0, 0
    while at < 12:
        consumer = Ours(_log(12), Stop(), position=at, committed=at)
        try:
            await _loop(consumer, outlet, marks).consume(consumer.stop)
        except Death:
            deaths += 1
            assert deaths <= BATCH_DEATHS_MAX + DEATHS_MAX
        at = consumer.committed
    assert deaths == BATCH_DEATHS_MAX + DEATHS_MAX
    assert sorted(r.topic for r in outlet.sent) == ["activity"] * 11 + ["dead"]
    (letter,) = [r for r in outlet.sent if r.topic == "dead"]
    assert REASON.encode() in dict(letter.headers).values()
    assert marks.rows == {}


async def test_after_the_first_batches_nothing_is_noted() -> None:
    consumer, outlet, marks = Ours(_log(100), Stop()), FakeOutlet(), Marks()
    await _loop(consumer, outlet, marks).consume(consumer.stop)
    assert (marks.written, len(marks.finishes)) == (MARKED_BATCHES, MARKED_BATCHES)
    assert (consumer.committed, len(outlet.sent)) == (100, 100)


async def test_what_is_not_acknowledged_is_read_again() -> None:
    consumer, marks = Ours(_log(6), Stop(), commit_failures=1), Marks()
    outlet = FakeOutlet(failures=1)
    await _loop(consumer, outlet, marks).consume(consumer.stop)
    assert consumer.committed == 6
    assert marks.rows == {}


async def test_a_note_that_cannot_be_written_is_trouble_that_passes() -> None:
    """`UnfinishedRecords` itself never raises; other errors are retried."""
    marks = Marks()
    begin, failures = marks.begin, [1]

    async def away(begun: Any) -> None:
        if failures.pop() if failures else 0:
            raise Transient("PostgreSQL is away")
        await begin(begun)

    marks.begin = away  # type: ignore[method-assign]
    consumer = Ours(_log(4), Stop())
    await _loop(consumer, FakeOutlet(), marks).consume(consumer.stop)
    assert consumer.committed == 4
