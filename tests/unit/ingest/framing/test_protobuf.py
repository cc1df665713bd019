"""Protobuf: messages by the registry's descriptor, well-known types, and hostile bytes."""

import json
from base64 import b64encode
from typing import Any

import pytest
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.type import money_pb2

from services.ingest.core.framing.avro_schema import Unsafe
from services.ingest.core.framing.frame import Frame
from services.ingest.core.framing.protobuf import BUILT_IN, ProtobufDecoder
from tests.unit.ingest.framing.samples import file, message, protobuf_class

ORDER = file(
    message(
        "Order",
        (
            ("id", "string"),
            ("cents", "int64"),
            ("paid", "bool"),
            ("share", "float"),
            ("note", "optional string"),
            ("raw", "bytes"),
            ("tags", "repeated string"),
            ("lines", "repeated .shop.Order.Line"),
            ("parent", ".shop.Order"),
            ("time", ".google.protobuf.Timestamp"),
        ),
        message("Line", (("sku", "string"), ("quantity", "double"))),
    ),
    message("Other", (("name", "string"),)),
    imports=["google/protobuf/timestamp.proto"],
)
TIMESTAMP = timestamp_pb2.DESCRIPTOR.serialized_pb


def text(descriptor: Any) -> str:
    """Return a descriptor as the registry sends it."""
    return b64encode(descriptor.SerializeToString()).decode()


def decoded(descriptor: Any, body: bytes, indexes: bytes | None = b"\0") -> Any:
    """Return what a body becomes."""
    return json.loads(ProtobufDecoder(text(descriptor), {})(Frame(1, body, indexes)))


def order(**given: Any) -> Any:
    """Return a message with these fields."""
    return protobuf_class("shop.Order", TIMESTAMP, ORDER)(**given)


def test_a_message_becomes_an_object() -> None:
    """Zeros of numbers are there, blank texts and what was not set are not."""
    line = {"sku": "a", "quantity": 2}
    whole = order(
        id="o-1",
        cents=2**53,
        paid=True,
        share=19.99,
        note="",
        raw=b"\0\xff",
        tags=["x", ""],
        lines=[line, {}],
        parent={"id": "o-0"},
        time={"seconds": 1_772_357_400, "nanos": 5_000_000},
    )
    assert decoded(ORDER, whole.SerializeToString()) == {
        "id": "o-1",
        "cents": 2**53,
        "paid": True,
        "share": 19.99,
        "note": "",
        "raw": "AP8=",
        "tags": ["x", ""],
        "lines": [line, {"quantity": 0}],
        "parent": {"id": "o-0", "cents": 0, "paid": False, "share": 0},
        "time": "2026-03-01T09:30:00.005000+00:00",
    }
    assert decoded(ORDER, b"") == {"cents": 0, "paid": False, "share": 0}


def _known(kind: str, path: str, value: Any) -> Any:
    holder = file(message("Holder", (("a", f".{kind}"),)), imports=[path])
    inner = value.SerializeToString()
    return decoded(holder, b"\x0a" + bytes([len(inner)]) + inner)["a"]


STRUCT = struct_pb2.Struct()
STRUCT.update({"a": 1.5, "b": ["x", None, {"c": True}]})
DECIMAL = protobuf_class("confluent.type.Decimal", BUILT_IN["confluent/type/decimal.proto"])


@pytest.mark.parametrize(
    ("kind", "path", "value", "expected"),
    [
        (
            "google.protobuf.Duration",
            "google/protobuf/duration.proto",
            duration_pb2.Duration(seconds=-1, nanos=-500_000_000),
            "-1.500000000s",
        ),
        (
            "google.protobuf.Struct",
            "google/protobuf/struct.proto",
            STRUCT,
            {"a": 1.5, "b": ["x", None, {"c": True}]},
        ),
        (
            "google.protobuf.Int64Value",
            "google/protobuf/wrappers.proto",
            wrappers_pb2.Int64Value(value=7),
            7,
        ),
        (
            "google.protobuf.FloatValue",
            "google/protobuf/wrappers.proto",
            wrappers_pb2.FloatValue(value=0.1),
            0.1,
        ),
        (
            "google.type.Money",
            "google/type/money.proto",
            money_pb2.Money(currency_code="EUR", units=12, nanos=500_000_000),
            {"currency_code": "EUR", "units": 12, "nanos": 500_000_000},
        ),
        (
            "confluent.type.Decimal",
            "confluent/type/decimal.proto",
            DECIMAL(value=b"\x04\xe2", scale=2),
            "12.50",
        ),
        (
            "confluent.type.Decimal",
            "confluent/types/decimal.proto",
            DECIMAL(value=b"\x04\xe2", scale=2),
            "12.50",
        ),
    ],
)
def test_well_known_types_become_plain_values(
    kind: str, path: str, value: Any, expected: Any
) -> None:
    assert _known(kind, path, value) == expected


def test_enums_and_maps_are_named() -> None:
    kind = message("M", (("state", "int64"), ("counts", "repeated .shop.M.CountsEntry")))
    kind.field[0].type, kind.field[0].type_name = 14, ".shop.State"
    entry = message("CountsEntry", (("key", "bool"), ("value", "int64")))
    entry.options.map_entry = True
    kind.nested_type.append(entry)
    whole = file(kind)
    states = whole.enum_type.add(name="State")
    states.value.add(name="NEW", number=0)
    states.value.add(name="PAID", number=1)
    made = protobuf_class("shop.M", whole)
    assert decoded(whole, made(state=1, counts={True: 2}).SerializeToString()) == {
        "state": "PAID",
        "counts": {"true": 2},
    }
    assert decoded(whole, b"") == {"state": "NEW"}
    assert decoded(whole, b"\x08\x07") == {"state": 7}


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        (b"\0", {"id": "x"}),
        (b"\2\2", {"name": "x"}),
        (b"\4\0\0", {"sku": "x"}),
        (b"\2\0", {"id": "x"}),
    ],
)
def test_the_indexes_name_the_message(indexes: bytes, expected: dict[str, str]) -> None:
    """They are before the message, or behind the schema in the header."""
    decoder = ProtobufDecoder(text(ORDER), {})
    for frame in (Frame(1, indexes + b"\x0a\1x"), Frame(1, b"\x0a\1x", indexes)):
        assert json.loads(decoder(frame)).items() >= expected.items()


@pytest.mark.parametrize(
    ("indexes", "reason"),
    [
        (b"", "ends within"),
        (b"\2", "ends within"),
        (b"\2\x08", r"no message type \[4\]"),
        (b"\2\1", r"no message type \[-1\]"),
        (b"\1", "-1 message indexes"),
        (b"\x42" + b"\0" * 33, "33 message indexes"),
        (b"\xff" * 9, "indexes"),
        (b"\0\0", "bytes follow"),
    ],
)
def test_indexes_that_name_nothing_are_refused(indexes: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decoded(ORDER, b"", indexes)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x0a\5x", "field 'id': no shop.Order"),
        (b"\x0a\1x\x0a\1\xff", "field 'id': no shop.Order"),
        (b"\x0a\1x\x42\3\x0a\5x", "field 'lines': no shop.Order"),
        (b"\xff", "no shop.Order"),
        (order(time={"seconds": 2**62}).SerializeToString(), "'time': a time"),
        (b"\x4a\x02" * 150 + b"\x0a\0", "field 'parent'"),
    ],
)
def test_what_is_no_such_message_names_the_field(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decoded(ORDER, body)


def test_messages_deeper_than_the_library_reads_are_refused() -> None:
    body = b""
    for _ in range(200):
        inner, size = body, len(body)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        body = b"\x4a" + length + inner
    with pytest.raises(ValueError, match=r"field 'parent': no shop\.Order"):
        decoded(ORDER, body)


def test_values_that_take_no_bytes_are_bounded() -> None:
    """Two bytes are an empty message, with a thousand numbers that are zero."""
    wide = message("Wide", [(f"f{n}", "int64") for n in range(1_000)])
    holder = file(message("Holder", (("a", "repeated .shop.Wide"),)), wide)
    assert len(decoded(holder, b"\x0a\0" * 100)["a"]) == 100
    with pytest.raises(ValueError, match="field 'a': more than 200,000 values"):
        decoded(holder, b"\x0a\0" * 300)


def test_references_are_added_before_what_imports_them() -> None:
    base = file(message("Base", (("id", "string"),)), name="base.proto")
    middle = file(
        message("Middle", (("base", ".shop.Base"),)), name="middle.proto", imports=["base.proto"]
    )
    whole = file(
        message("Whole", (("base", ".shop.Base"), ("middle", ".shop.Middle"))),
        imports=["middle.proto", "base.proto"],
    )
    given = {"middle.proto": text(middle), "base.proto": text(base)}
    decoder = ProtobufDecoder(text(whole), given)
    body = protobuf_class("shop.Whole", base, middle, whole)(base={"id": "1"}).SerializeToString()
    assert json.loads(decoder(Frame(1, body, b"\0"))) == {"base": {"id": "1"}}
    with pytest.raises(Unsafe, match=r"'middle\.proto' is not among its references"):
        ProtobufDecoder(text(whole), {"base.proto": text(base)})
    base.dependency.append("middle.proto")
    with pytest.raises(Unsafe, match="imports itself"):
        ProtobufDecoder(text(whole), {**given, "base.proto": text(base)})


@pytest.mark.parametrize(
    "given",
    [
        'syntax = "proto3"; message A {}',
        "",
        "////",
        text(file(message("A", (("b", ".shop.Missing"),)))),
        text(file(message("A", (("b", "string"), ("b", "string"))))),
        text(file(message("A", ()), message("A", ()))),
    ],
)
def test_a_descriptor_that_cannot_be_used_is_refused(given: str) -> None:
    """An empty one has no message, which its first record shows."""
    try:
        decoder = ProtobufDecoder(given, {})
    except Unsafe:
        return
    assert given == ""
    with pytest.raises(ValueError, match="no message type"):
        decoder(Frame(1, b"", b"\0"))
