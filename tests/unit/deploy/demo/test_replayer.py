"""The replay's order: the past as an import, then midnight by midnight."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from deploy.demo import replayer
from deploy.demo.dataset import Dated
from deploy.demo.replayer import Day, Replayer, days
from shared.contracts.events import BACKFILL_ENDED, TICK
from shared.contracts.headers import BACKFILL
from shared.contracts.topics import ACTIVITY, RAW
from shared.kafka.producer import Producer, Record

BEGIN = datetime(2017, 10, 1, tzinfo=UTC)


class Clock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


class FakeProducer(Producer):
    """A producer that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.sizes: list[int] = []
        """The number of messages of each send."""

    async def send(self, records: Iterable[Record]) -> None:
        before = len(self.sent)
        self.sent += records
        self.sizes.append(len(self.sent) - before)


def event(hours: float) -> Dated:
    return Dated(BEGIN + timedelta(hours=hours), f"after {hours} h".encode())


def test_events_are_dealt_into_days_and_what_lies_beyond_is_left_out() -> None:
    dealt = days([event(0), event(23.9), event(24), event(71), event(72)], BEGIN, 3)
    assert [(day.begins.day, day.bodies) for day in dealt] == [
        (1, [b"after 0 h", b"after 23.9 h"]),
        (2, [b"after 24 h"]),
        (3, [b"after 71 h"]),
    ]


async def test_the_past_is_marked_as_silent_and_its_end_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replayer, "CHUNK_RECORDS", 2)
    producer = FakeProducer()
    writer = Replayer(producer, Clock())
    sent = await writer.backfill(event(n) for n in range(5))
    await writer.end_backfill(BEGIN)
    assert (sent, writer.controls) == (5, 1)
    *past, end = producer.sent
    assert all(BACKFILL in dict(record.headers) for record in past)
    assert BACKFILL not in dict(end.headers)
    assert end.value is not None
    decoded = msgspec.json.decode(end.value)
    assert (decoded["type"], decoded["time"]) == (BACKFILL_ENDED, "2017-10-01T00:00:00Z")
    assert "subject" not in decoded


async def test_each_day_begins_with_its_tick_and_waits_for_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replayer, "AHEAD_DAYS_MAX", 2)
    producer = FakeProducer()
    writer = Replayer(producer, Clock())
    asked: list[tuple[int, int]] = []

    async def catch_up(records: int) -> None:
        asked.append((len(producer.sent), records))

    tomorrow = BEGIN + timedelta(days=1)
    plan = [Day(BEGIN, [b"a", b"b"]), Day(tomorrow, []), Day(BEGIN + timedelta(days=2), [b"c"])]
    sent = await writer.replay(plan, catch_up, lambda _: None)
    assert (sent, writer.controls) == (3, 3)
    # Sent so far, and how many of them may be unread: two days, with a copy of the tick for
    # each partition.
    copies = ACTIVITY.partitions
    assert asked == [(0, 0), (3, 2 + copies), (4, 2 + 2 * copies)]
    shown = [
        (tick["type"], tick["id"], tick["data"]) if b"{" in body else body
        for body in (record.value or b"" for record in producer.sent)
        for tick in [msgspec.json.decode(body) if b"{" in body else {}]
    ]
    assert shown == [
        (TICK, "tick-2017-10-01", {}),
        b"a",
        b"b",
        (TICK, "tick-2017-10-02", {}),
        (TICK, "tick-2017-10-03", {}),
        b"c",
    ]
    assert producer.sizes == [3, 1, 2], "a day is sent at once"
    assert writer.tick_sent_ms[tomorrow] == 1_767_225_600_000


async def test_everything_goes_to_one_partition_so_that_order_holds() -> None:
    producer = FakeProducer()
    writer = Replayer(producer, Clock())

    async def no_wait(_: int) -> None:
        """Send without waiting."""

    await writer.backfill([event(0)])
    await writer.replay([Day(BEGIN, [b"a"])], no_wait, lambda _: None)
    assert {(record.topic, record.partition) for record in producer.sent} == {(RAW.name, 0)}
