"""Mappings in the intake: which topic has which, and what their records become there."""

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.ingest.core.mapping.apply import Context, map_value
from services.ingest.core.mapping.document import compile_mapping
from services.ingest.core.rates import RateTable
from services.ingest.handlers.accept_batch import AcceptBatch, DecidedBatch
from services.ingest.handlers.use_mappings import REFRESH_S, UseMappings
from services.ingest.inbound.mapping_files import read_mapping
from services.ingest.ports import StoredMapping, Topics, Unreadable
from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import Headers
from shared.kernel.errors import Invalid, Transient
from tests.fakes.clock import SetClock
from tests.unit.ingest.events import ARRIVED_MS, encoded
from tests.unit.ingest.fakes import Consumed, FakeOutlet

DOCUMENT = """
mapping: shop
apply: all
rules:
  - rule: noise
    match: kind == 'noise'
    ignore: true
  - rule: order
    match: kind == 'order'
    type: purchase
    id: nr
    time: at
    customer: who
    amount: total
  - rule: returns
    each: returns
    type: refund
    id: concat(record().nr, '-', nr)
    time: record().at
    customer: record().who
    amount: total
"""
STORED = StoredMapping(
    "shop", 1, DOCUMENT, ("shop.raw",), ("shop",), datetime(2026, 1, 1, tzinfo=UTC), "me"
)
ORDER = {"kind": "order", "nr": 7, "at": "2026-03-01T08:00:00Z", "who": 42, "total": 9.5}


class FakeMappings:
    """A store whose content and reachability the test sets."""

    def __init__(self, *stored: StoredMapping) -> None:
        self.stored = list(stored)
        self.away = False

    async def current(self) -> list[StoredMapping]:
        """Return what the test has put."""
        if self.away:
            raise Transient("PostgreSQL is away")
        return self.stored


async def _all_there(_: Collection[str]) -> set[str]:
    return set()


class TestUseMappings:
    """Refreshes, versions, and documents that cannot be used."""

    async def test_topics_are_those_of_the_settings_and_of_the_mappings(self) -> None:
        """Each topic once; the mapping is found by topic and by HTTP source."""
        use = UseMappings(FakeMappings(STORED), ("raw",), SetClock())
        assert await use.topics(_all_there) == ("raw", "shop.raw")
        found = use.of_topic("shop.raw")
        assert found is not None
        assert found is use.of_source("shop")
        assert use.of_topic("raw") is None
        assert use.of_source("other") is None

    async def test_a_new_version_is_in_force_within_seconds(self) -> None:
        """Read again when it is due, not at every poll."""
        store, clock = FakeMappings(STORED), SetClock()
        use = UseMappings(store, ("raw",), clock)
        await use.topics(_all_there)
        first = use.of_topic("shop.raw")
        store.stored = [replace(STORED, version=2, topics=("shop.two",))]
        assert await use.topics(_all_there) == ("raw", "shop.raw")
        clock.pass_by(timedelta(seconds=REFRESH_S))
        assert await use.topics(_all_there) == ("raw", "shop.two")
        assert use.of_topic("shop.two") is not first

    async def test_an_unusable_document_leaves_its_topics_waiting(self) -> None:
        """Its records are neither refused nor taken for CloudEvents, and it is counted."""
        counted: list[tuple[dict[str, int], int]] = []
        broken = replace(STORED, document="mapping: shop", topics=("shop.raw", "also"))
        other = replace(STORED, name="other", version=3, topics=(), http_sources=())
        use = UseMappings(
            FakeMappings(broken, other),
            ("raw", "also"),
            SetClock(),
            lambda versions, unusable: counted.append((dict(versions), unusable)),
        )
        assert await use.topics(_all_there) == ("raw",)
        assert counted == [({"other": 3}, 1)]

    async def test_a_topic_that_does_not_exist_is_not_read(self) -> None:
        """It is once it is there."""
        clock, asked = SetClock(), []

        async def missing(topics: Collection[str]) -> set[str]:
            asked.append(set(topics))
            return {"shop.raw"} if len(asked) == 1 else set()

        use = UseMappings(FakeMappings(STORED), ("raw",), clock)
        assert await use.topics(missing) == ("raw",)
        clock.pass_by(timedelta(seconds=REFRESH_S))
        assert await use.topics(missing) == ("raw", "shop.raw")
        assert asked == [{"shop.raw"}] * 2

    async def test_without_the_database_nothing_is_read_at_first_and_all_goes_on_later(
        self,
    ) -> None:
        """A process that does not know the mappings must not read their topics."""
        store, clock = FakeMappings(STORED), SetClock()
        use = UseMappings(store, ("raw",), clock)
        store.away = True
        with pytest.raises(Transient):
            await use.topics(_all_there)
        store.away = False
        await use.topics(_all_there)
        store.away = True
        clock.pass_by(timedelta(seconds=REFRESH_S))
        assert await use.topics(_all_there) == ("raw", "shop.raw")


async def _decided(value: Any, **changes: Any) -> DecidedBatch:
    mapping = compile_mapping(DOCUMENT, "shop.yaml")
    accept = AcceptBatch(
        FakeOutlet(),
        Topics("activity", "dead"),
        RateTable("USD"),
        mapping_of={"shop.raw": mapping}.get,
    )
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return await accept.decide([Consumed(raw, topic="shop.raw", **changes)], ARRIVED_MS)


class TestAcceptBatch:
    """Records of a topic with a mapping."""

    async def test_a_record_becomes_its_events(self) -> None:
        """Several events of one record keep their order; each is keyed by its customer."""
        done = await _decided(ORDER | {"returns": [{"nr": 1, "total": 2}, {"nr": 2, "total": 3}]})
        events = [DECODER.decode(record.value or b"") for record in done.outgoing]
        assert [(e.id, e.data.amount) for e in events] == [("7", 9.5), ("7-1", 2.0), ("7-2", 3.0)]
        assert {record.key for record in done.outgoing} == {b"42"}
        assert done.refused == [False]
        assert done.accepted == {"io.ebbwatch.purchase": 1, "io.ebbwatch.refund": 2}

    async def test_one_bad_event_makes_a_dead_letter_and_the_others_are_sent(self) -> None:
        """The whole record is kept, with the first reason and how many more there are."""
        returns = [{"nr": 1, "total": "x"}, {"nr": 2, "total": 3}, {"total": 4}]
        done = await _decided(ORDER | {"returns": returns})
        assert [record.topic for record in done.outgoing] == ["activity", "activity", "dead"]
        (letter,) = done.letters
        assert letter.field == "data.amount"
        assert letter.reason.startswith("rule 'returns': ")
        assert letter.reason.endswith(" (and 1 more)")
        assert json.loads(letter.value or b"")["returns"] == returns
        assert done.refused == [True]

    async def test_an_ignored_record_is_counted(self) -> None:
        """It is neither sent nor refused."""
        done = await _decided({"kind": "noise"})
        assert (done.outgoing, done.refused, done.ignored) == ([], [False], {"shop": 1})

    async def test_a_cloudevent_there_is_a_record_like_any_other(self) -> None:
        """The mapping decides alone what its topic holds."""
        done = await _decided(encoded())
        assert (done.outgoing, done.ignored) == ([], {"shop": 1})

    async def test_an_unreadable_record_is_a_dead_letter(self) -> None:
        """It has no content that a mapping could read."""
        accept = AcceptBatch(
            FakeOutlet(),
            Topics("activity", "dead"),
            RateTable("USD"),
            mapping_of=lambda _: compile_mapping(
                DOCUMENT.replace("apply", "reads: debezium\napply"), "shop.yaml"
            ),
        )
        record = Unreadable("shop.raw", 0, 1, ARRIVED_MS, Invalid("headers", "not UTF-8"))
        done = await accept.decide([record], ARRIVED_MS)
        assert [letter.field for letter in done.letters] == ["headers"]


class TestBatches:
    """Several CloudEvents in one record."""

    TYPE = (("content-type", b"application/cloudevents-batch+json; charset=utf-8"),)

    async def _decided(self, *events: bytes, headers: Headers = TYPE) -> DecidedBatch:
        accept = AcceptBatch(FakeOutlet(), Topics("activity", "dead"), RateTable("USD"))
        value = b"[" + b", ".join(events) + b"]"
        return await accept.decide([Consumed(value, headers=headers)], ARRIVED_MS)

    async def test_each_event_is_decided_on(self) -> None:
        """A bad one makes a dead letter of the record, which names it; the others are sent."""
        bad = encoded(id="2", subject=None)
        done = await self._decided(encoded(id="1"), bad, encoded(id="3"))
        sent = [r for r in done.outgoing if r.topic == "activity"]
        assert [DECODER.decode(record.value or b"").id for record in sent] == ["1", "3"]
        (letter,) = done.letters
        assert (letter.field, letter.reason) == (
            "subject",
            "event 1: missing: it names the customer",
        )

    async def test_headers_hold_for_all(self) -> None:
        """A batch of a history is history."""
        marker = ("ebbwatch-backfill", b"import-1")
        done = await self._decided(encoded(id="1"), encoded(id="2"), headers=(*self.TYPE, marker))
        events = [DECODER.decode(record.value or b"") for record in done.outgoing]
        assert [event.backfill for event in events] == ["import-1", "import-1"]

    @pytest.mark.parametrize(
        ("events", "field", "reason"),
        [
            ((b"{]",), "value", "not a JSON array"),
            ((), "content-type", "cloudevents-batch"),
            ((b"1,",) * 2, "value", "not a JSON array"),
            ((b"{}",) * 1_001, "value", "at most 1,000 events"),
            ((b'"' + b"x" * 1_100_000 + b'"',), "value", "at most 1,048,576"),
        ],
    )
    async def test_what_is_no_batch(
        self, events: tuple[bytes, ...], field: str, reason: str
    ) -> None:
        """It is refused as a whole."""
        (letter,) = (await self._decided(*events)).letters
        assert letter.field == field
        assert reason in letter.reason

    async def test_binary_mode_of_types_of_ones_own(self) -> None:
        """A mapping that reads CloudEvents finds the attributes of Kafka's headers."""
        _, mapping = read_mapping("cloudevents")
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", b"e-1"),
            ("ce_source", b"/shop"),
            ("ce_type", b"com.example.order.placed"),
            ("ce_time", b"2026-03-01T08:00:00Z"),
            ("ce_subject", b"c-1"),
            ("content-type", b"application/json"),
        )
        context = Context(ARRIVED_MS, RateTable("USD"), headers)
        mapped = map_value(mapping, b'{"order_id": "o-1", "total": 5}', context)
        ((event, _),) = mapped.events
        assert (event.id, event.source, event.subject) == ("order-o-1", "/shop", "c-1")
