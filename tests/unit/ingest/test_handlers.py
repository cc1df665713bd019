"""The use cases, with fakes for everything around them."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from services.ingest.core.accept import accepted
from services.ingest.core.flood import RECORDS
from services.ingest.core.rates import RateTable
from services.ingest.handlers import accept_batch
from services.ingest.handlers.accept_batch import (
    SKEW_MS_MAX,
    SLICE_RECORDS_MAX,
    AcceptBatch,
    DecidedBatch,
)
from services.ingest.handlers.publish_events import PublishEvents
from services.ingest.handlers.send_together import SendTogether
from services.ingest.handlers.watch_flood import FloodWatch
from services.ingest.ports import Topics, Unreadable
from shared.contracts import events as types
from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import HEADERS_KEPT_MAX, DeadLetter, Origin
from shared.contracts.headers import TRACEPARENT
from shared.kafka.batch import ConsumedRecord
from shared.kafka.producer import Record as Outgoing
from shared.kernel.errors import Invalid, Transient
from tests.unit.ingest.events import ARRIVED_MS, encoded, event
from tests.unit.ingest.fakes import (
    PARTITIONS,
    Consumed,
    FakeOutlet,
    FakeStops,
    FixedClock,
)

TOPICS = Topics("activity", "dead")
RATES = RateTable("USD")
TRACE = (TRACEPARENT, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


async def _accepted(
    outlet: FakeOutlet, records: Sequence[ConsumedRecord], now_ms: int = ARRIVED_MS
) -> DecidedBatch:
    accept = AcceptBatch(outlet, TOPICS, RATES)
    done = await accept.decide(records, now_ms)
    await accept.deliver(done)
    return done


class TestAcceptBatch:
    """Raw records in, activity and dead letters out."""

    async def test_a_fault_of_ours_is_its_records_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever a record makes the code raise, it becomes a dead letter and the others go on."""

        def faulty(value: bytes, *rest: object) -> object:
            if b"bug" in value:
                raise KeyError("x")
            return accepted(value, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(accept_batch, "accepted", faulty)
        outlet = FakeOutlet()
        records = [Consumed(encoded(id=name), n) for n, name in enumerate(("1", "bug", "3"))]
        done = await _accepted(outlet, records)
        assert done.refused == [False, True, False]
        assert done.letters[0].reason.startswith("a fault of ours: KeyError")

    async def test_one_bad_record_holds_up_nothing(self) -> None:
        """Order is kept; the bad record becomes a whole dead letter."""
        outlet = FakeOutlet()
        records = [
            Consumed(encoded(id="1"), 10, headers=(TRACE,)),
            Consumed(b"?", 11, headers=(("h", b"\xff"),)),
            Consumed(encoded(id="3"), 12, headers=((TRACEPARENT, b"nonsense"),)),
        ]
        done = await _accepted(outlet, records)
        assert done.refused == [False, True, False]
        assert done.accepted == {types.PURCHASE: 2}
        first, dead, last = outlet.sent
        assert (first.topic, first.key, first.headers) == ("activity", b"household-7", (TRACE,))
        assert [DECODER.decode(r.value or b"").id for r in (first, last)] == ["1", "3"]
        assert last.headers == ()
        letter = DeadLetter.from_record(dead.key, dead.value, dead.headers)
        assert letter == done.letters[0]
        assert (letter.value, letter.original_headers) == (b"?", (("h", b"\xff"),))
        assert (letter.origin, letter.stage) == (Origin("raw", 0, 11), "ingest")

    async def test_the_same_records_send_the_same(self) -> None:
        """Only records without a credible timestamp use the wall clock."""
        records = [Consumed(encoded(id=str(n)), n) for n in range(5)]
        outlet = FakeOutlet()
        await _accepted(outlet, records)
        await _accepted(outlet, records, ARRIVED_MS + 3_600_000)
        assert outlet.sent[:5] == outlet.sent[5:]

    async def test_others_have_a_turn_while_it_decides(self) -> None:
        """A batch of several slices is decided whole and in order; nothing is sent before that."""
        outlet, turns = FakeOutlet(), 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        count = 3 * SLICE_RECORDS_MAX + 1
        records = [Consumed(encoded(id=str(n)), n) for n in range(count)]
        done = await AcceptBatch(outlet, TOPICS, RATES).decide(records, ARRIVED_MS)
        beside.cancel()
        assert (turns, outlet.sent) == (4, [])
        assert [DECODER.decode(r.value or b"").id for r in done.outgoing] == [
            str(n) for n in range(count)
        ]

    @pytest.mark.parametrize("timestamp", [-1, 0, ARRIVED_MS + SKEW_MS_MAX + 1, 2**63 - 1])
    async def test_unbelievable_timestamps(self, timestamp: int) -> None:
        """Timestamps are the sender's claim: the present time replaces an impossible one."""
        outlet = FakeOutlet()
        await _accepted(outlet, [Consumed(encoded(), 0, timestamp=timestamp)])
        assert DECODER.decode(outlet.sent[0].value or b"").receivedms == ARRIVED_MS

    async def test_a_tick_reaches_every_partition(self) -> None:
        """It stands between earlier and later records (invariant 4)."""
        outlet = FakeOutlet()
        tick = encoded(type=types.TICK, subject=None, time="2017-05-01T00:00:00Z")
        records = [Consumed(encoded()), Consumed(tick), Consumed(encoded())]
        await _accepted(outlet, records)
        assert [r.partition for r in outlet.sent] == [None, *range(PARTITIONS), None]
        assert {r.key for r in outlet.sent[1:-1]} == {None}

    async def test_what_cannot_be_sent_as_it_is(self) -> None:
        """No key and no value; more headers than a dead letter can hold; nothing readable."""
        outlet = FakeOutlet()
        many = tuple((str(n), b"") for n in range(HEADERS_KEPT_MAX + 1))
        records: list[ConsumedRecord] = [
            Consumed(None, 0, key=None),
            Consumed(b"?", 1, headers=many),
            Unreadable("raw", 0, 2, 0, Invalid("headers", "why")),
        ]
        done = await _accepted(outlet, records)
        nothing, large, unreadable = done.letters
        assert (nothing.key, nothing.value) == (b"", None)
        assert len(large.original_headers) == HEADERS_KEPT_MAX
        assert "of 10,001 headers the first 10,000 are kept" in large.reason
        assert (unreadable.field, unreadable.reason, unreadable.key) == ("headers", "why", b"")


class TestFloodWatch:
    """One bad message becomes a dead letter, a flood stops the intake."""

    async def _running(self, stops: FakeStops, share_max: float = 0.9) -> FloodWatch:
        watch = FloodWatch(stops, share_max, FixedClock())
        assert watch.reason is not None
        assert not await watch.blocked()
        return watch

    async def test_below_the_limit(self) -> None:
        """Neither few records nor a share below the limit stop anything."""
        watch = await self._running(FakeStops())
        watch.note([True] * (RECORDS - 1))
        assert not await watch.blocked()
        watch.note([False] * 101)
        assert not await watch.blocked()

    async def test_at_the_limit(self) -> None:
        """900 of the last 1,000 stop the intake until it is resumed; the database stores the stop.

        Then the count starts anew.
        """
        stops = FakeStops()
        watch = await self._running(stops)
        watch.note([False] * 100 + [True] * 900)
        assert await watch.blocked()
        assert "90% of the last 1,000" in stops.open_reasons[0]
        assert await watch.blocked()
        assert len(stops.open_reasons) == 1
        again = FloodWatch(stops, 0.9, FixedClock())
        assert await again.blocked(), "a restart must not go on by itself"
        await stops.resume(FixedClock().now())
        assert not await watch.blocked()
        assert watch.reason is None
        watch.note([True] * (RECORDS - 1))
        assert not await watch.blocked()

    async def test_the_database_is_away(self) -> None:
        """The intake stops all the same, and the stop is stored once the database is back."""
        stops = FakeStops()
        watch = await self._running(stops)
        stops.failures = 1
        watch.note([True] * RECORDS)
        with pytest.raises(Transient):
            await watch.blocked()
        assert watch.reason is not None
        assert await watch.blocked()
        assert len(stops.open_reasons) == 1

    async def test_turned_off(self) -> None:
        """A share above 1 is never reached."""
        watch = await self._running(FakeStops(), share_max=1.1)
        watch.note([True] * RECORDS)
        assert not await watch.blocked()


class TestPublishEvents:
    """Events over HTTP."""

    def _publish(self, outlet: FakeOutlet) -> PublishEvents:
        return PublishEvents(SendTogether(outlet), "raw", RATES, FixedClock())

    async def test_one_event(self) -> None:
        """The event is sent as it was written, with the customer as the key."""
        outlet = FakeOutlet()
        body = b" " + json.dumps(event(), indent=1).encode()
        done = await self._publish(outlet)(body, (TRACE,))
        assert (done.accepted, done.refused) == (1, [])
        content_type = ("content-type", b"application/cloudevents+json")
        assert outlet.sent == [Outgoing("raw", b"household-7", body, (content_type, TRACE))]

    async def test_not_acknowledged(self) -> None:
        """Then no event is reported as accepted, and the next request can succeed."""
        publish = self._publish(FakeOutlet(failures=1))
        with pytest.raises(Transient):
            await publish(encoded(), ())
        assert (await publish(encoded(), ())).accepted == 1

    @pytest.mark.parametrize("body", [b"[", b'["\xff"]', b"[" * 100_000])
    async def test_bodies_that_are_no_array(self, body: bytes) -> None:
        """The request is invalid, or every event in it is refused."""
        outlet = FakeOutlet()
        try:
            done = await self._publish(outlet)(body, ())
        except Invalid as fault:
            assert fault.field == "body"
        else:
            assert done.accepted == 0
        assert outlet.sent == []
