"""The use cases of HTTP: sending together, mapped sources, one answer for one key."""

import asyncio
import json

import pytest

from services.ingest.core.rates import RateTable
from services.ingest.core.sender_rates import TooMany
from services.ingest.handlers.accept_batch import AcceptBatch
from services.ingest.handlers.answer_once import AnswerOnce
from services.ingest.handlers.publish_events import PublishEvents
from services.ingest.handlers.publish_mapped import PublishMapped
from services.ingest.handlers.send_together import SendTogether
from services.ingest.inbound.mapping_files import read_mapping
from services.ingest.ports import Answer, Topics
from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import Headers
from shared.contracts.headers import SOURCE
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid, Transient
from tests.unit.ingest.events import ARRIVED_MS, encoded
from tests.unit.ingest.fakes import Consumed, FakeAnswers, FakeOutlet, FixedClock
from tests.unit.ingest.mapping.corpus import corpora

RATES = RateTable("USD")
SHOPIFY = read_mapping("shopify")[1]
(SHOP,) = [corpus for corpus in corpora() if corpus.mapping == "shopify"]
ORDER = json.dumps(SHOP.records["order"]).encode()
BROKEN = b'{"cart": [], "currency": "USD", "email": "a@b.example"}'
IGNORED = b'{"test": true, "line_items": [{}]}'


class TestSendTogether:
    """Requests that wait go together."""

    async def test_what_waits_goes_in_one_call(self) -> None:
        """The first is sent at once, and those that come meanwhile together after it."""
        outlet = FakeOutlet(acknowledging=asyncio.Event())
        calls: list[int] = []
        outlet.after = lambda: calls.append(len(outlet.sent))
        send = SendTogether(outlet)
        records = [Record("raw", b"k", b"%d" % n) for n in range(4)]
        sending = [asyncio.create_task(send([record])) for record in records]
        await asyncio.sleep(0)
        assert not any(task.done() for task in sending)
        assert outlet.acknowledging is not None
        outlet.acknowledging.set()
        await asyncio.gather(*sending)
        assert (calls, outlet.sent) == ([1, 4], records)

    async def test_a_failure_is_everyones_of_its_call(self) -> None:
        """The requests of the call after it are not concerned."""
        outlet = FakeOutlet(failures=1, acknowledging=asyncio.Event())
        send = SendTogether(outlet)
        sending = [asyncio.create_task(send([Record("raw", None, b"x")])) for _ in range(3)]
        await asyncio.sleep(0)
        assert outlet.acknowledging is not None
        outlet.acknowledging.set()
        found = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(each) for each in found] == [Transient, type(None), type(None)]
        outlet.failures = 1
        with pytest.raises(Transient):
            await send([Record("raw", None, b"x")])
        await send([Record("raw", None, b"x")])

    async def test_a_request_that_is_given_up_fails_those_with_it(self) -> None:
        """They are not left waiting, and the next ones go on."""
        outlet = FakeOutlet(acknowledging=asyncio.Event())
        send = SendTogether(outlet)
        first, leader, with_it = (
            asyncio.create_task(send([Record("raw", None, b"x")])) for _ in range(3)
        )
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(Transient):
            await with_it
        assert outlet.acknowledging is not None
        outlet.acknowledging.set()
        await first
        await send([Record("raw", None, b"y")])
        assert [record.value for record in outlet.sent] == [b"x", b"y"]

    async def test_nothing_needs_no_call(self) -> None:
        await SendTogether(FakeOutlet(failures=1))([])


class TestPublishMapped:
    """A source's own records."""

    def _publish(self, outlet: FakeOutlet, kept: list[tuple[bytes, Headers, str]]) -> PublishMapped:
        def keep(value: bytes, _: Invalid, headers: Headers, origin: str) -> None:
            kept.append((value, headers, origin))

        return PublishMapped(SendTogether(outlet), "raw", RATES, FixedClock(), keep)

    async def test_each_record_has_its_result(self) -> None:
        """Accepted ones are sent as they came with their source; refused ones are kept with it."""
        outlet = FakeOutlet()
        kept: list[tuple[bytes, Headers, str]] = []
        publish = self._publish(outlet, kept)
        done = await publish("shop", SHOPIFY, [ORDER, BROKEN, IGNORED], (("h", b"v"),), "POST /x")
        assert (done.accepted, done.ignored) == (1, 1)
        assert {refusal.index for refusal in done.refused} == {1}
        headers = ((SOURCE, b"shop"), ("h", b"v"))
        assert outlet.sent == [Record("raw", b"207119551", ORDER, headers)]
        assert kept == [(BROKEN, headers, "POST /x")]

    async def test_of_a_vendor_that_does_not_repeat_nothing_is_only_kept(self) -> None:
        """A refused record is sent on and becomes a dead letter like any of Kafka's."""
        outlet = FakeOutlet()
        kept: list[tuple[bytes, Headers, str]] = []
        publish = self._publish(outlet, kept)
        done = await publish("shop", SHOPIFY, [BROKEN], (), "POST /x", sends_refused=True)
        assert (done.accepted, kept) == (0, [])
        assert outlet.sent == [Record("raw", None, BROKEN, ((SOURCE, b"shop"),))]

    async def test_the_consumer_maps_by_the_source(self) -> None:
        """In a topic of CloudEvents too; those of an unknown source say what to do."""
        outlet = FakeOutlet()
        known = {"shop": SHOPIFY}
        accept = AcceptBatch(
            outlet, Topics("activity", "dead-letter"), RATES, source_mapping_of=known.get
        )
        records = [
            Consumed(ORDER, headers=((SOURCE, b"shop"),)),
            Consumed(encoded(id="native")),
            Consumed(ORDER, headers=((SOURCE, b"gone"),)),
            Consumed(ORDER, headers=((SOURCE, b"\xff"),)),
        ]
        done = await accept.decide(records, ARRIVED_MS)
        ids = [DECODER.decode(r.value or b"").id for r in done.outgoing if r.topic == "activity"]
        assert ids == ["order-5551001", "native"]
        assert done.refused == [False, False, True, True]
        assert [letter.field for letter in done.letters] == [SOURCE, SOURCE]
        assert "--http" in done.letters[0].reason
        assert (SOURCE, b"gone") in done.letters[0].original_headers


async def test_a_sender_with_too_many_events_has_none_of_them_taken() -> None:
    """Neither sent nor kept as refused."""
    outlet = FakeOutlet()
    kept: list[bytes] = []
    publish = PublishEvents(
        SendTogether(outlet), "raw", RATES, FixedClock(), keep=lambda value, *_: kept.append(value)
    )

    def admit(events: int) -> None:
        raise TooMany(events)

    with pytest.raises(TooMany, match="wait 2 s"):
        await publish(b"[1, 2]", (), admit=admit)
    assert (outlet.sent, kept) == ([], [])


class TestAnswerOnce:
    """The same key gets the same answer."""

    async def test_a_repeated_request(self) -> None:
        """It is not carried out again; another body is refused; keys belong to their owner."""
        done = 0

        async def work() -> Answer:
            nonlocal done
            done += 1
            return Answer(202, b"%d" % done)

        once = AnswerOnce(FakeAnswers(), FixedClock())
        assert await once("a", "k", b"1", work) == Answer(202, b"1")
        assert await once("a", "k", b"1", work) == Answer(202, b"1")
        assert await once("b", "k", b"1", work) == Answer(202, b"2")
        with pytest.raises(Invalid, match="Idempotency-Key"):
            await once("a", "k", b"2", work)
        assert done == 2

    async def test_what_failed_is_done_again(self) -> None:
        """Its outcome is unknown; another body is refused all the same."""
        outcomes: list[Answer | Transient] = [Transient("no broker"), Answer(202, b"x")]

        async def work() -> Answer:
            found = outcomes.pop(0)
            if isinstance(found, Transient):
                raise found
            return found

        once = AnswerOnce(FakeAnswers(), FixedClock())
        with pytest.raises(Transient):
            await once("a", "k", b"1", work)
        with pytest.raises(Invalid):
            await once("a", "k", b"2", work)
        assert (await once("a", "k", b"1", work)).body == b"x"
