"""Framed records in a batch: decoded, refused with the schema's number, or waiting."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.ingest.core.faults import fault
from services.ingest.core.framing.frame import HEADER, SchemaKey
from services.ingest.core.framing.schemas import (
    REFERENCE_DEPTH_MAX,
    REFERENCES_MAX,
    Reference,
    RegisteredSchema,
)
from services.ingest.core.mapping.document import CompiledMapping, compile_mapping
from services.ingest.core.rates import RateTable
from services.ingest.handlers import open_frames
from services.ingest.handlers.accept_batch import AcceptBatch, DecidedBatch, no_mapping
from services.ingest.handlers.open_frames import REFUSED_S, OpenFrames
from services.ingest.ports import Topics
from shared.contracts.activity import DECODER, Activity
from shared.contracts.events import PURCHASE
from shared.kernel.errors import Invalid, Transient
from tests.fakes.clock import SetClock
from tests.unit.ingest.events import ARRIVED_MS, binary_headers, encoded
from tests.unit.ingest.fakes import Consumed, FakeOutlet
from tests.unit.ingest.framing.samples import EVENT, avro, framed

GUID = UUID(int=9)
BOUGHT = {
    "specversion": "1.0",
    "id": "avro-1",
    "source": "shop",
    "type": PURCHASE,
    "time": datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
    "subject": "c-1",
    "data": {"amount": Decimal("12.50"), "currency": "USD", "channel": None},
}
BODY = avro(EVENT, BOUGHT)
ORDER = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "nr", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "total", "type": "double"},
    ],
}
ORDER_V2 = ORDER | {
    "fields": [
        {"name": "voucher", "type": ["null", "string"], "default": None},
        *ORDER["fields"],
    ]
}
MAPPING = """
mapping: orders
rules:
  - rule: order
    type: purchase
    id: concat('order-', nr)
    customer: customer
    time: at
    amount: total
    currency: {value: USD}
"""


@dataclass(slots=True)
class Registry:
    """A registry in memory; `away` while it does not answer."""

    schemas: dict[SchemaKey, RegisteredSchema]
    versions: dict[str, RegisteredSchema] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    away: bool = False

    async def schema(self, key: SchemaKey) -> RegisteredSchema:
        return self._found(self.schemas, key, f"schema {key}")

    async def version(self, reference: Reference, *, serialized: bool) -> RegisteredSchema:
        return self._found(self.versions, reference.subject, f"subject {reference.subject}")

    def _found(self, among: Any, key: Any, what: str) -> RegisteredSchema:
        self.asked.append(key)
        if self.away:
            raise Transient("the schema registry does not answer")
        if key not in among:
            raise fault("value", f"{what} is not in the registry")
        found: RegisteredSchema = among[key]
        return found


def registered(schema: Any, kind: str | None = None, *references: Reference) -> RegisteredSchema:
    """Return a schema as the registry returns it."""
    return RegisteredSchema(json.dumps(schema), kind, list(references))


def registry(**given: Any) -> Registry:
    """Return a registry with schema 1, the event, and GUID the same."""
    return Registry(
        {1: registered(EVENT), GUID: registered(EVENT), **given.pop("schemas", {})}, **given
    )


async def decided(
    records: Sequence[Consumed],
    source: Registry | None,
    *topics: str,
    mapping: CompiledMapping | None = None,
) -> DecidedBatch:
    """Return what becomes of records."""
    frames = OpenFrames(source, SetClock(), topics)
    accept = AcceptBatch(
        FakeOutlet(),
        Topics("activity", "dead-letter"),
        RateTable("USD"),
        mapping_of=no_mapping if mapping is None else lambda _: mapping,
        frames=frames,
    )
    return await accept.decide(records, ARRIVED_MS)


def events(done: DecidedBatch) -> list[Activity]:
    """Return the accepted events."""
    return [DECODER.decode(each.value or b"") for each in done.outgoing if each.topic == "activity"]


async def test_a_framed_event_is_accepted_beside_one_in_json() -> None:
    """By number, by GUID, and by the header."""
    records = [
        Consumed(framed(1, BODY)),
        Consumed(encoded(id="json")),
        Consumed(b"\1" + GUID.bytes + BODY),
        Consumed(BODY, headers=((HEADER, b"\1" + GUID.bytes),)),
    ]
    done = await decided(records, registry())
    assert not done.letters
    assert [event.id for event in events(done)] == ["avro-1", "json", "avro-1", "avro-1"]
    first = events(done)[0]
    assert (first.subject, first.data.amount, first.data.original_amount) == ("c-1", 12.5, "12.50")
    assert len({event.contenthash for event in events(done) if event.id == "avro-1"}) == 1


async def test_data_alone_is_framed_in_binary_mode() -> None:
    """Its content type becomes that of what was decoded."""
    schema = EVENT["fields"][-1]["type"]
    body = avro(schema, BOUGHT["data"])
    headers = (*binary_headers(), ("content-type", b"application/avro"))
    source = registry(schemas={5: registered(schema), 6: registered({}, "JSON")})
    done = await decided([Consumed(framed(5, body), headers=headers)], source)
    assert [event.data.amount for event in events(done)] == [12.5]
    structured = (("content-type", b"application/cloudevents+avro"),)
    done = await decided([Consumed(framed(6, encoded()), headers=structured)], source)
    assert [event.id for event in events(done)] == ["basket-1"]


async def test_a_mapping_reads_what_each_writer_wrote() -> None:
    """A schema that grew is read beside the former one; a wrong value names the mapping's rule."""
    mapping = compile_mapping(MAPPING, "orders.yaml")
    row = {"nr": 7, "customer": "c-1", "at": BOUGHT["time"], "total": 19.9}
    source = registry(schemas={2: registered(ORDER), 3: registered(ORDER_V2)})
    records = [
        Consumed(framed(2, avro(ORDER, row))),
        Consumed(framed(3, avro(ORDER_V2, row | {"nr": 8, "voucher": "spring"}))),
        Consumed(framed(2, avro(ORDER, row | {"total": float("nan"), "customer": ""}))),
        Consumed(json.dumps({"nr": 9, "customer": "c", "at": "2026-03-01T08:00:00Z"}).encode()),
    ]
    done = await decided(records, source, mapping=mapping)
    assert [event.id for event in events(done)] == ["order-7", "order-8", "order-9"]
    assert [(letter.field, letter.value) for letter in done.letters] == [
        ("subject", records[2].value)
    ]


@pytest.mark.parametrize(
    ("record", "field_name", "reason"),
    [
        (Consumed(framed(404, BODY)), "value", "schema 404 is not in the registry"),
        (Consumed(framed(1, BODY[:-3])), "value", "not of schema 1: field 'data': the value ends"),
        (Consumed(framed(1, BODY + b"x")), "value", "not of schema 1: 1 bytes follow"),
        (Consumed(framed(2, b"")), "value", "schema 2 cannot be used: a list of values that take"),
        (Consumed(framed(3, b"")), "value", "schema 3 cannot be used: the type 'THRIFT'"),
        (Consumed(framed(4, b"{")), "value", "not JSON"),
        (Consumed(framed(4, b"[]")), "value", "not a JSON object"),
        (Consumed(b"\0\0\0"), "value", "ends within the schema's id"),
        (Consumed(BODY, headers=((HEADER, b"?"),)), HEADER, "begins with neither"),
        (Consumed(framed(1, b"\0" * (1024 * 1024))), "value", "at most 1,048,576 are accepted"),
    ],
)
async def test_what_cannot_be_decoded_is_a_dead_letter(
    record: Consumed, field_name: str, reason: str
) -> None:
    """With its bytes as they came; the record beside it goes on."""
    source = registry(
        schemas={
            2: registered({"type": "array", "items": "null"}),
            3: registered({}, "THRIFT"),
            4: registered({}, "JSON"),
        }
    )
    done = await decided([record, Consumed(framed(1, BODY))], source)
    (letter,) = done.letters
    assert (letter.field, letter.value) == (field_name, record.value)
    assert letter.original_headers == record.headers
    assert reason in letter.reason
    assert len(events(done)) == 1


async def test_without_a_registry_the_setting_is_named() -> None:
    done = await decided([Consumed(framed(1, BODY))], None)
    assert "set EBBWATCH_INGEST_REGISTRY_URL" in done.letters[0].reason


async def test_topics_that_are_named_are_framed_and_no_others() -> None:
    source = registry()
    records = [
        Consumed(framed(1, BODY), topic="framed"),
        Consumed(encoded(), topic="framed"),
        Consumed(framed(1, BODY), topic="plain"),
        Consumed(encoded(), topic="plain"),
        Consumed(None, topic="framed"),
    ]
    done = await decided(records, source, "framed")
    assert [event.id for event in events(done)] == ["avro-1", "basket-1"]
    assert [letter.origin.topic for letter in done.letters] == ["framed", "plain", "framed"]
    assert "names no schema" in done.letters[0].reason
    assert source.asked == [1]


async def test_records_wait_while_the_registry_is_away() -> None:
    """Nothing is refused; what is known is still decoded; readiness says why until it is over."""
    clock = SetClock()
    source = registry()
    frames = OpenFrames(source, clock)
    assert await frames([Consumed(framed(1, BODY))]) != []
    source.away = True
    (known,) = await frames([Consumed(framed(1, BODY))])
    assert not isinstance(known, Invalid)
    assert await frames.trouble() is None
    both = [Consumed(framed(1, BODY)), Consumed(b"\1" + GUID.bytes + BODY)]
    with pytest.raises(Transient):
        await frames(both)
    assert await frames.trouble() == "records wait: the schema registry does not answer"
    source.away = False
    assert not any(isinstance(each, Invalid) for each in await frames(both))
    assert await frames.trouble() is None


async def test_an_outage_that_no_record_waits_for_is_forgotten() -> None:
    """As after its partition went to another process."""
    clock = SetClock()
    frames = OpenFrames(Registry({}, away=True), clock)
    with pytest.raises(Transient):
        await frames([Consumed(framed(1, BODY))])
    clock.pass_by(timedelta(minutes=1))
    assert await frames.trouble() is None


async def test_an_unknown_schema_is_asked_for_again_after_a_while() -> None:
    clock = SetClock()
    source = registry()
    frames = OpenFrames(source, clock)
    late = [Consumed(framed(2, BODY))] * 3
    for _ in range(2):
        assert all(isinstance(each, Invalid) for each in await frames(late))
    source.schemas[2] = registered(EVENT)
    assert source.asked == [2]
    clock.pass_by(timedelta(seconds=REFUSED_S + 1))
    assert not any(isinstance(each, Invalid) for each in await frames(late))
    assert source.asked == [2, 2]


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_frames, "SCHEMAS_MAX", 2)
    monkeypatch.setattr(open_frames, "REFUSED_MAX", 2)
    source = Registry({n: registered(EVENT) for n in range(1, 5)})
    frames = OpenFrames(source, SetClock())
    for n in (1, 2, 1, 3, 1, 2):
        assert not isinstance((await frames([Consumed(framed(n, BODY))]))[0], Invalid)
    assert source.asked == [1, 2, 3, 2]
    whole = await frames([Consumed(framed(n, BODY)) for n in (1, 2, 3, 4)])
    assert not any(isinstance(each, Invalid) for each in whole)  # more at once than are kept
    source.asked.clear()
    for n in (7, 8, 9, 9, 7):
        assert isinstance((await frames([Consumed(framed(n, BODY))]))[0], Invalid)
    assert source.asked == [7, 8, 9, 7]


LINE = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}


def nested(depth: int) -> Registry:
    """Return a registry with a schema whose references are so deep."""
    versions = {
        f"s{n}": registered(LINE | {"name": f"L{n}"}, None, Reference(f"L{n + 1}", f"s{n + 1}", 1))
        for n in range(1, depth)
    }
    versions[f"s{depth}"] = registered(LINE | {"name": f"L{depth}"})
    return Registry({1: registered(f"L{depth}", None, Reference("L1", "s1", 1))}, versions)


async def test_references_are_resolved_to_a_depth() -> None:
    body = avro(LINE, {"sku": "a"})
    (found,) = await OpenFrames(nested(REFERENCE_DEPTH_MAX), SetClock())(
        [Consumed(framed(1, body))]
    )
    assert not isinstance(found, Invalid)
    assert found.value == b'{"sku":"a"}'
    (deeper,) = await OpenFrames(nested(REFERENCE_DEPTH_MAX + 1), SetClock())(
        [Consumed(framed(1, body))]
    )
    assert isinstance(deeper, Invalid)
    assert "schema 1 cannot be used: its references are deeper than 10" in deeper.reason


@pytest.mark.parametrize(
    ("references", "versions", "reason"),
    [
        ([Reference("L", "gone", 1)], {}, "schema 1, its references: subject gone is not"),
        (
            [Reference(f"L{n}", "s", 1) for n in range(REFERENCES_MAX + 1)],
            {"s": registered(LINE)},
            "more than 100 references",
        ),
        (
            [Reference("L", "s", 1)],
            {"s": RegisteredSchema(" " * 1024 * 1024)},
            "with its references it has more than 1,048,576 bytes",
        ),
        ([Reference("L", "s", 1)], {"s": RegisteredSchema("{")}, "JSONDecodeError"),
    ],
)
async def test_references_that_cannot_be_used_are_named(
    references: list[Reference], versions: dict[str, RegisteredSchema], reason: str
) -> None:
    source = Registry({1: registered("L", None, *references)}, versions)
    (found,) = await OpenFrames(source, SetClock())([Consumed(framed(1, b""))])
    assert isinstance(found, Invalid)
    assert reason in found.reason


async def test_references_that_refer_to_each_other_end() -> None:
    """Each is asked for once."""
    again = registered(LINE, None, Reference("L", "s", 1))
    source = Registry({1: registered("Line", None, Reference("L", "s", 1))}, {"s": again})
    (found,) = await OpenFrames(source, SetClock())([Consumed(framed(1, b"\2a"))])
    assert not isinstance(found, Invalid)
    assert source.asked == [1, "s"]
