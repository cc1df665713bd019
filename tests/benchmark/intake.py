"""Section `intake`: deciding on raw records without a broker: native, mapped, of a registry."""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from services.ingest.core.accept import accepted
from services.ingest.core.framing.frame import frame_of
from services.ingest.core.framing.schemas import RegisteredSchema, make_decoder
from services.ingest.core.mapping.apply import Context, map_value
from services.ingest.core.rates import RateTable
from services.ingest.core.source_clocks import SourceClocks, Timing
from services.ingest.inbound.mapping_files import read_mapping
from shared.contracts.activity import ENCODER
from shared.contracts.events import PURCHASE
from shared.runtime.gc_tuning import spare_collector
from tests.unit.ingest.events import ARRIVED_MS, purchase
from tests.unit.ingest.framing.samples import avro, file, framed, message, protobuf_class
from tests.unit.ingest.mapping.corpus import corpora

EVENTS = 10_000
ROUNDS = 8
"""Number of runs; the best is reported, because the machine's noise only adds time."""

RATES = RateTable("USD")
SEGMENT = ("order", "view", "view", "view", "view", "view", "view", "page", "page", "page")
"""A stream of a web shop's calls: one order among nine that are not."""


BOUGHT = {
    "amount": "12.50",
    "currency": "USD",
    "channel": "online",
    "order_id": "o-1",
    "items": [{"sku": "a", "category": "Games", "quantity": 1}, {"sku": "b", "quantity": 2}],
}
HEAD = {
    "specversion": "1.0",
    "id": "basket-1",
    "source": "shop/till",
    "type": PURCHASE,
    "subject": "household-7",
}
TEXTS = ("amount", "currency", "channel", "order_id")

Work = tuple[Callable[[bytes], None], Sequence[bytes]]


def run() -> dict[str, float]:
    """Measures events per second of one process, to the encoded activity event.

    `clock_samples_ratio`: what is left of the native rate with the observation of clocks.
    """
    native = purchase(**BOUGHT)
    work: list[Work] = [
        (_native, [native]),
        (_sampled(), [native]),
        (_mapping("segment"), _records("segment", SEGMENT)),
        (_mapping("shopify"), _records("shopify", ("order",))),
        _avro(),
        _protobuf(),
    ]
    spare_collector()  # as every service does
    # In turns, so that a slow moment of the machine is not one of them alone.
    rounds = [[_seconds(*each) for each in work] for _ in range(ROUNDS)]
    seconds = map(min, zip(*rounds, strict=True))
    native_s, sampled_s, segment_s, shopify_s, avro_s, protobuf_s = seconds
    return {
        "native_per_s": 1 / native_s,
        "clock_samples_ratio": native_s / sampled_s,
        "segment_per_s": 1 / segment_s,
        "segment_ratio": native_s / segment_s,
        "shopify_per_s": 1 / shopify_s,
        "shopify_ratio": native_s / shopify_s,
        "avro_per_s": 1 / avro_s,
        "avro_ratio": native_s / avro_s,
        "protobuf_per_s": 1 / protobuf_s,
        "protobuf_ratio": native_s / protobuf_s,
    }


def _records(source: str, names: Sequence[str]) -> list[bytes]:
    """Returns samples of a source, each of which becomes one event."""
    (corpus,) = [each for each in corpora() if each.mapping == source]
    return [json.dumps(corpus.records[name]).encode() for name in names]


def _native(value: bytes) -> None:
    ENCODER.encode(accepted(value, (), ARRIVED_MS, RATES).event)


def _avro() -> Work:
    """Returns the native event in Avro, behind its schema's number."""

    def record(name: str, *fields: tuple[str, object]) -> dict[str, object]:
        listed = [{"name": field, "type": kind} for field, kind in fields]
        return {"type": "record", "name": name, "fields": listed}

    optional = ["null", "string"]
    item = record("Item", ("sku", "string"), ("category", optional), ("quantity", "double"))
    data = record(
        "Purchase",
        *((name, "string") for name in TEXTS),
        ("items", {"type": "array", "items": item}),
    )
    time = {"type": "long", "logicalType": "timestamp-millis"}
    schema = record("Event", *((name, "string") for name in HEAD), ("time", time), ("data", data))
    at = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    body = avro(schema, HEAD | {"time": at, "data": BOUGHT})
    return _framed(RegisteredSchema(json.dumps(schema))), [framed(1, body)]


def _protobuf() -> Work:
    """Returns the native event in Protobuf, behind its schema's number."""
    item = (("sku", "string"), ("category", "optional string"), ("quantity", "double"))
    lists = ("items", "repeated .shop.Item")
    described = file(
        message("Event", (*((name, "string") for name in (*HEAD, "time")), ("data", ".shop.Data"))),
        message("Data", (*((name, "string") for name in TEXTS), lists)),
        message("Item", item),
    )
    made = protobuf_class("shop.Event", described)
    body = made(**HEAD, time="2026-03-01T08:30:00Z", data=BOUGHT).SerializeToString()
    text = b64encode(described.SerializeToString()).decode()
    return _framed(RegisteredSchema(text, "PROTOBUF")), [framed(1, b"\0" + body)]


def _framed(schema: RegisteredSchema) -> Callable[[bytes], None]:
    decoder = make_decoder(schema, {})

    def decide(value: bytes) -> None:
        frame = frame_of(value, ())
        if frame is None:
            raise AssertionError("the sample names no schema")
        _native(decoder(frame))

    return decide


def _sampled() -> Callable[[bytes], None]:
    """Decides natively and observes the source's clock, as the consumer does for each event."""
    clocks = SourceClocks()

    def decide(value: bytes) -> None:
        event = accepted(value, (), ARRIVED_MS, RATES).event
        ENCODER.encode(event)
        at_s = event.time.timestamp()
        clocks.accepted(Timing(event.source, at_s, at_s - event.receivedms / 1000))

    return decide


def _mapping(name: str) -> Callable[[bytes], None]:
    _, mapping = read_mapping(name)
    context = Context(ARRIVED_MS, RATES)

    def decide(value: bytes) -> None:
        ((event, _),) = map_value(mapping, value, context).events
        ENCODER.encode(event)

    return decide


def _seconds(decide: Callable[[bytes], None], records: Sequence[bytes]) -> float:
    """Returns the processor seconds of one record, on average: what others use does not count."""
    stream = [records[n % len(records)] for n in range(EVENTS)]
    began_s = time.process_time()
    for value in stream:
        decide(value)
    return (time.process_time() - began_s) / EVENTS
