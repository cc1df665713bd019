"""Replaying and discarding dead letters: each once, bounded, and with what was left reported."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.core.dead_letters import FOREIGN, first_arrival, producer_of, read
from services.ingest.core.rates import RateTable
from services.ingest.core.refused import EVENTS_ORIGIN
from services.ingest.core.shown import line, printable
from services.ingest.handlers.accept_batch import AcceptBatch, DecidedBatch
from services.ingest.handlers.discard_dead_letters import DiscardDeadLetters, DropContents
from services.ingest.handlers.replay_dead_letters import ReplayDeadLetters
from services.ingest.handlers.settle_dead_letters import PAGE, REFUSALS_MAX, Choice
from services.ingest.ports import Search, Topics
from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import DeadLetter, Headers, Origin
from shared.contracts.headers import ARRIVED, REPLAY_OF
from shared.kafka.producer import Record as Outgoing
from shared.kernel.errors import Transient
from tests.unit.ingest.events import ARRIVED_MS, binary_headers, encoded
from tests.unit.ingest.fakes import (
    NOW,
    Consumed,
    FakeIndex,
    FakeOutlet,
    FixedClock,
)

HOUR_MS = 3_600_000


def _letter(n: int, field: str = "data.currency", **changes: object) -> DeadLetter:
    made = DeadLetter(
        b"k", b"%d" % n, (("h", b"v"),), Origin("raw", 2, n), "ingest", field, f"'{n}' is wrong", 5
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def _replay(index: FakeIndex, outlet: FakeOutlet) -> ReplayDeadLetters:
    return ReplayDeadLetters(index, outlet, FixedClock(), "raw-0")


def _discard(index: FakeIndex) -> DiscardDeadLetters:
    return DiscardDeadLetters(index, FixedClock())


def _index(*letters: DeadLetter) -> FakeIndex:
    index = FakeIndex()
    for letter in letters:
        index.put(letter)
    return index


async def test_as_they_came() -> None:
    """Key, bytes, topic and partition are the original ones; two headers are added to its own."""
    index, outlet = _index(_letter(7)), FakeOutlet()
    done = await _replay(index, outlet)(Choice(ids=(1,)), "ann", "rate added")
    headers = (("h", b"v"), (ARRIVED, b"5"), (REPLAY_OF, b"1"))
    assert outlet.sent == [Outgoing("raw", b"k", b"7", headers, partition=2)]
    assert (done.ids, dict(done.topics), done.untouched) == ([1], {"raw": 1}, [])
    facts = index.rows[0].facts
    assert (facts.state, facts.settled_at, facts.settled_by, facts.settled_why) == (
        "replayed",
        NOW,
        "ann",
        "rate added",
    )


@pytest.mark.parametrize("stage", ["scoring", "alerts"])
async def test_inner_topics(stage: str) -> None:
    """What an inner service refused goes back to the topic that it read."""
    index, outlet = _index(_letter(7, stage=stage, origin=Origin("activity", 1, 9))), FakeOutlet()
    await _replay(index, outlet)(Choice(), "ann")
    assert [(r.topic, r.partition, r.value) for r in outlet.sent] == [("activity", 1, b"7")]


async def test_what_came_over_http() -> None:
    """It goes to the raw topic, with the partition chosen as for any record."""
    index, outlet = _index(_letter(7, key=None, origin=Origin(EVENTS_ORIGIN, 0, 9))), FakeOutlet()
    await _replay(index, outlet)(Choice(), "ann")
    assert [(r.topic, r.partition) for r in outlet.sent] == [("raw-0", None)]


async def test_all_of_a_kind_in_order() -> None:
    """More than a page is replayed, oldest first, only what matches, and never twice."""
    index, outlet = (
        _index(*(_letter(n) for n in range(PAGE + 5)), _letter(999, "time")),
        FakeOutlet(),
    )
    replay, choice = _replay(index, outlet), Choice(search=Search(field="data.currency"))
    assert len((await replay(choice, "ann")).ids) == PAGE + 5
    assert [r.value for r in outlet.sent] == [b"%d" % n for n in range(PAGE + 5)]
    assert (await replay(choice, "ann")).ids == []
    assert len(outlet.sent) == PAGE + 5


async def test_bounded() -> None:
    """A call has a limit and reports that more match; repeating it ends."""
    index, outlet = _index(*(_letter(n) for n in range(5))), FakeOutlet()
    replay, choice = _replay(index, outlet), Choice(limit=3)
    first, second = await replay(choice, "ann"), await replay(choice, "ann")
    assert [(one.ids, one.more) for one in (first, second)] == [([1, 2, 3], True), ([4, 5], False)]
    numbers = await _discard(_index(_letter(1), _letter(2)))(Choice(ids=(1, 2), limit=1), "ann")
    assert (numbers.ids, numbers.more) == ([1], True)


async def test_by_number_each_is_accounted_for() -> None:
    """Unknown, settled, foreign and emptied ones are left, with the reason; `again` is explicit."""
    foreign = _letter(4, stage=FOREIGN, origin=Origin("dead", 0, 4))
    index, outlet = _index(_letter(1), _letter(2), _letter(3), foreign), FakeOutlet()
    await _discard(index)(Choice(ids=(2,)), "ann")
    await _replay(index, outlet)(Choice(ids=(1,)), "ann")
    replay = _replay(index, outlet)
    done = await replay(Choice(ids=(4, 3, 2, 1, 9, 1)), "bob")
    assert done.ids == [3]
    reasons = {one.id: one.reason for one in done.untouched}
    assert reasons.keys() == {1, 2, 4, 9}
    assert "replayed already" in reasons[1]
    assert "discarded already" in reasons[2]
    assert "no topic to send it back to" in reasons[4]
    assert "no such" in reasons[9]
    assert index.rows[3].facts.state == "waiting"
    again = await replay(Choice(ids=(1, 2), again=True), "bob")
    assert again.ids == [1, 2]
    assert [r.value for r in outlet.sent] == [b"1", b"3", b"1", b"2"]


async def test_what_is_refused_again_meanwhile_waits() -> None:
    """Otherwise a replay of records that are still bad would never end; it is reported."""
    index = _index(_letter(0))
    outlet = FakeOutlet(after=lambda: index.put(_letter(1), replay_of=1))
    replay = _replay(index, outlet)
    done = await replay(Choice(), "ann")
    assert (done.ids, done.more) == ([1], False)
    assert await replay.refused_again(done.ids, wait_s=9.0) == {1: 2}
    assert await replay.refused_again([], wait_s=9.0) == {}
    assert await replay.refused_again([2], wait_s=0.0) == {}


async def test_not_acknowledged() -> None:
    """Then the dead letter still waits."""
    index = _index(_letter(0))
    with pytest.raises(Transient):
        await _replay(index, FakeOutlet(failures=1))(Choice(ids=(1,)), "ann")
    assert index.rows[0].facts.state == "waiting"


async def test_discarded_content_is_deleted_after_some_days() -> None:
    """Only settled ones lose their content, after their time; then they cannot be replayed."""
    index = _index(_letter(1), _letter(2))
    await _discard(index)(Choice(ids=(1,)), "ann", "a test order")
    assert await DropContents(index, FixedClock(), days=1).once() == 0
    index.rows[0] = replace(
        index.rows[0],
        facts=replace(index.rows[0].facts, settled_at=NOW - timedelta(days=1, seconds=1)),
    )
    assert await DropContents(index, FixedClock(), days=1).once() == 1
    gone, waiting = index.rows
    assert (gone.letter.value, gone.letter.original_headers) == (None, ())
    assert (gone.facts.reason, gone.facts.settled_why) == ("'1' is wrong", "a test order")
    assert waiting.letter.value == b"2"
    outlet = FakeOutlet()
    done = await _replay(index, outlet)(Choice(ids=(1,), again=True), "ann")
    assert (done.ids, outlet.sent) == ([], [])
    assert "content was deleted" in done.untouched[0].reason


async def test_reports_are_bounded() -> None:
    """Of many that are left, the first are reported and all are counted."""
    done = await _discard(FakeIndex())(Choice(ids=tuple(range(1, REFUSALS_MAX + 9))), "ann")
    assert (len(done.untouched), done.untouched_count) == (REFUSALS_MAX, REFUSALS_MAX + 8)


@given(st.lists(st.lists(st.integers(1, 12), max_size=6).map(tuple), max_size=8))
async def test_whatever_is_asked_nothing_is_sent_twice(calls: list[tuple[int, ...]]) -> None:
    """Any sequence of replays and discards settles each dead letter at most once."""
    index, outlet = _index(*(_letter(n) for n in range(1, 11))), FakeOutlet()
    settled: list[int] = []
    for number, ids in enumerate(calls):
        use = _replay(index, outlet) if number % 2 else _discard(index)
        settled += (await use(Choice(ids=ids), "ann")).ids
    assert len(settled) == len(set(settled))
    assert set(settled) == {i for ids in calls for i in ids if i <= 10}
    sent = [r.value for r in outlet.sent]
    assert len(sent) == len(set(sent))


async def _decided(record: Consumed, now_ms: int) -> DecidedBatch:
    return await AcceptBatch(FakeOutlet(), Topics("activity", "dead"), RateTable("USD")).decide(
        [record], now_ms
    )


async def test_a_replay_is_judged_by_its_first_arrival() -> None:
    """Its time is clamped or refused as it was then; its latency counts from the replay."""
    later = ARRIVED_MS + 5 * HOUR_MS
    first = ((ARRIVED, b"%d" % ARRIVED_MS), (REPLAY_OF, b"7"))
    ahead = encoded(time="2026-03-01T09:10:00Z")  # 10 minutes after it arrived
    done = await _decided(Consumed(ahead, headers=first, timestamp=later), later)
    event = DECODER.decode(done.outgoing[0].value or b"")
    assert (event.time.isoformat(), event.receivedms) == ("2026-03-01T09:05:00+00:00", later)
    local = encoded(time="2026-03-01T12:00:00Z")
    done = await _decided(Consumed(local, headers=first, timestamp=later), later)
    assert (done.refused, done.letters[0].field, done.future) == ([True], "time", ["shop/till"])
    letter = done.letters[0]
    found = read(letter.key, letter.value, letter.to_headers(), ("dead", 0, 1))
    assert (found.replay_of, found.letter.arrived_ms) == (7, ARRIVED_MS)
    assert found.letter.original_headers == ()
    assert found.producer == "shop/till"


@given(st.binary(max_size=30), st.integers(1, 2**53))
def test_a_made_up_arrival_only_makes_it_earlier(text: bytes, arrived_ms: int) -> None:
    """A sender who writes our header cannot date an event into the future."""
    found = first_arrival(((ARRIVED, text),), arrived_ms)
    assert found is not None
    assert 0 <= found <= arrived_ms


@pytest.mark.parametrize(
    ("value", "headers", "producer"),
    [
        (encoded(), (), "shop/till"),
        (b"{}", binary_headers(), "shop/till"),
        (encoded(source="x" * 257), (), None),
        (encoded(source="a\0b"), (), None),
        (b'{"source": {"table": "orders"}}', (), None),
        (b"[" * 100_000, (), None),
        (b"\xff", (), None),
        (b"{}", (("ce_source", b"\xff"),), None),
        (None, (), None),
    ],
)
def test_producers(value: bytes | None, headers: Headers, producer: str | None) -> None:
    """The event's `source` where one can be read and stored."""
    assert producer_of(value, headers) == producer


@given(st.binary(max_size=60), st.text(max_size=60))
def test_what_is_shown_controls_no_terminal(content: bytes, text: str) -> None:
    """Whatever was sent, it is printable; a listed fault stays on its line."""
    shown = printable(content)
    assert shown is not None
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert line(text).isprintable()
