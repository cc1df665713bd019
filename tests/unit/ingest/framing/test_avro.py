"""Avro: the writer's schema decodes, values become those of JSON, and nothing hostile gets far."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.ingest.core.framing.avro import RECORDS_MAX, AvroDecoder
from services.ingest.core.framing.avro_schema import LEVELS_MAX, Unsafe
from services.ingest.core.framing.frame import Frame
from tests.unit.ingest.framing.samples import EVENT, avro

ID = UUID("6f5902ac-237b-4a5b-9b5c-7d0d8b1f0c11")
TREE = {
    "type": "record",
    "name": "Node",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "children", "type": {"type": "array", "items": "Node"}},
    ],
}
CHAIN = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}


def decoded(schema: Any, body: bytes, *references: Any) -> Any:
    """Return what a body becomes."""
    decoder = AvroDecoder(json.dumps(schema), [json.dumps(each) for each in references])
    return json.loads(decoder(Frame(1, body)))


def logical(kind: str, logical_type: str, **more: Any) -> dict[str, Any]:
    """Return a logical type."""
    return {"type": kind, "logicalType": logical_type, **more}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("null", None, None),
        ("boolean", True, True),
        ("int", -7, -7),
        ("long", 2**63 - 1, 2**63 - 1),
        ("double", 0.1, 0.1),
        ("double", float("nan"), None),
        ("float", 19.99, 19.99),
        ("string", "购买 ☕", "购买 ☕"),
        ("bytes", b"\0\xff", "AP8="),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab", "YWI="),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
        ({"type": "map", "values": "int"}, {"a": 1}, {"a": 1}),
        ({"type": "array", "items": ["null", "string"]}, [None, "a"], [None, "a"]),
        (
            logical("long", "timestamp-millis"),
            datetime(2026, 3, 1, 9, 30, 0, 123_000, UTC),
            "2026-03-01T09:30:00.123000+00:00",
        ),
        (
            logical("long", "timestamp-micros"),
            datetime(1969, 12, 31, 23, 59, 59, 1, UTC),
            "1969-12-31T23:59:59.000001+00:00",
        ),
        (logical("long", "timestamp-nanos"), 1_001, "1970-01-01T00:00:00.000001+00:00"),
        (
            logical("long", "local-timestamp-millis"),
            datetime(2026, 3, 1, 9, 30),  # noqa: DTZ001 (it has no zone)
            "2026-03-01T09:30:00",
        ),
        (logical("long", "local-timestamp-micros"), 1, "1970-01-01T00:00:00.000001"),
        (logical("long", "local-timestamp-nanos"), 1_000, "1970-01-01T00:00:00.000001"),
        (logical("int", "date"), date(2026, 3, 1), "2026-03-01"),
        (logical("int", "time-millis"), time(9, 30), "09:30:00"),
        (logical("long", "time-micros"), time(9, 30, 0, 1), "09:30:00.000001"),
        (logical("bytes", "decimal", precision=9, scale=2), Decimal("-12.50"), "-12.50"),
        (logical("bytes", "decimal", precision=9), Decimal(1200), "1200"),
        (
            logical("fixed", "decimal", name="D", size=8, precision=9, scale=9),
            Decimal("1E-9"),
            "0.000000001",
        ),
        (logical("string", "uuid"), ID, str(ID)),
        (logical("fixed", "uuid", name="U", size=16), ID.bytes, str(ID)),
        (logical("string", "of-a-company"), "a", "a"),
    ],
)
def test_values_become_those_of_json(kind: Any, value: Any, expected: Any) -> None:
    """Within a record as it is alone."""
    record = {"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}
    assert decoded(kind, avro(kind, value)) == expected
    assert decoded(record, avro(record, {"a": value})) == {"a": expected}


def test_a_record_is_read_with_its_namespace_and_references() -> None:
    """Types of references are found by their full names, and by short ones of one namespace."""
    line = {"type": "record", "name": "shop.Line", "fields": [{"name": "sku", "type": "string"}]}
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "first", "type": "Line"},
            {"name": "others", "type": {"type": "array", "items": "shop.Line"}},
        ],
    }
    value = {"first": {"sku": "a"}, "others": [{"sku": "b"}, {"sku": "c"}]}
    whole = json.loads(json.dumps(order))
    whole["fields"][0]["type"] = line
    assert decoded(order, avro(whole, value), line) == value
    with pytest.raises(Unsafe, match=r"shop\.Line' is not in it"):
        AvroDecoder(json.dumps(order), ())


def test_a_type_that_holds_itself_is_read_to_its_depth() -> None:
    tree = {"name": "a", "children": [{"name": "b", "children": []}, {"name": "c", "children": []}]}
    assert decoded(TREE, avro(TREE, tree)) == tree
    chain: Any = None
    for _ in range(LEVELS_MAX):
        chain = {"next": chain}
    assert decoded(CHAIN, avro(CHAIN, chain)) == chain
    for more in (2, 1_000_000):  # the library's own limit is the end of the process
        with pytest.raises(ValueError, match="field 'next': a type holds itself too often"):
            decoded(CHAIN, b"\2" * (LEVELS_MAX + more))


def test_each_of_two_types_may_hold_the_other() -> None:
    other = {"type": "record", "name": "B", "fields": [{"name": "a", "type": ["null", "A"]}]}
    both = {"type": "record", "name": "A", "fields": [{"name": "b", "type": ["null", other]}]}
    value = {"b": {"a": {"b": None}}}
    assert decoded(both, avro(both, value)) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "field 'specversion': the value ends within it"),
        (avro(EVENT["fields"][0]["type"], "1.0"), "field 'id': the value ends within it"),
        (b"\2\xff" * 4, "field 'specversion': 'utf-8'"),
        (b"\0" * 4 + b"\xfe" + b"\xff" * 8 + b"\1", "field 'time': a time beyond the years"),
        (b"\0" * 4 + b"\0\6", "field 'subject': list index out of range"),
    ],
)
def test_what_is_not_of_the_schema_names_the_field(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decoded(EVENT, body)


def test_bytes_behind_the_value_are_refused() -> None:
    """They are a sign of another schema, whose fields happened to fit."""
    with pytest.raises(ValueError, match="1 bytes follow"):
        decoded("int", b"\0\0")


def test_records_in_lists_are_bounded() -> None:
    """Each costs a byte here, and 200 in memory."""
    kind = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "boolean"}]}
    wanted = {"type": "array", "items": kind}
    fits = [{"a": True}] * RECORDS_MAX
    assert decoded(wanted, avro(wanted, fits)) == fits
    with pytest.raises(ValueError, match="more than 20,000 records"):
        decoded(wanted, avro(wanted, [*fits, {"a": True}]))


@pytest.mark.parametrize("precision", [9, 4_000_000])
def test_a_decimal_is_bounded(precision: int) -> None:
    kind = logical("bytes", "decimal", precision=precision, scale=2)
    with pytest.raises(ValueError, match="no amount"):
        decoded(kind, avro("bytes", b"\1" * 1_000_000))
    with pytest.raises(ValueError, match="no amount"):
        decoded(kind | {"scale": 10**9}, avro("bytes", b"\1"))


EMPTY = {"type": "record", "name": "E", "fields": []}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "items": "null"}, "take no bytes"),
        ({"type": "array", "items": EMPTY}, "take no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "take no bytes"),
        (
            {
                "type": "array",
                "items": EMPTY
                | {"fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "null"}]},
            },
            "'b' takes no bytes, within a list",
        ),
        ({"type": "fixed", "name": "F", "size": -1}, "size -1"),
        ({"type": "fixed", "name": "F", "size": "x"}, "malformed|ValueError"),
        ({"type": "record", "name": "R"}, "fields"),
        ({"type": "enum", "name": "E", "symbols": ["a b"]}, "symbol"),
        (["null", "Missing"], "'Missing' is not in it"),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": 7}]}, "malformed"),
        (7, "malformed|not in it"),
        ({"type": "record", "name": "R", "fields": 7}, "malformed"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, reason: str) -> None:
    with pytest.raises(Unsafe, match=reason):
        AvroDecoder(json.dumps(schema), ())


def test_a_large_or_deep_schema_is_refused() -> None:
    fields = [{"name": f"a{n}", "type": "int"} for n in range(20_001)]
    with pytest.raises(Unsafe, match="more than 20,000"):
        AvroDecoder(json.dumps({"type": "record", "name": "R", "fields": fields}), ())
    deep = '{"type": "array", "items": ' * 1_000 + '"int"' + "}" * 1_000
    with pytest.raises(Unsafe, match="nested too deep"):
        AvroDecoder(deep, ())
    for text in ("{", "[" * 100_000, '{"type": "array", "items": ' * 2_000):
        with pytest.raises(Unsafe):
            AvroDecoder(text, ())


def test_a_value_that_is_deeper_than_json_may_be_is_refused() -> None:
    schema = '{"type": "array", "items": ' * 300 + '"int"' + "}" * 300
    with pytest.raises(ValueError, match="Recursion"):
        AvroDecoder(schema, ())(Frame(1, b"\2" * 301 + b"\0" * 300))


def test_types_that_hold_each_other_many_times_are_refused() -> None:
    """Unrolled they would be without end."""
    names = [f"T{n}" for n in range(40)]
    fields = [{"name": f"f{name}", "type": ["null", name]} for name in names]
    kinds = [{"type": "record", "name": name, "fields": fields} for name in names]
    with pytest.raises(Unsafe, match=r"more than 20,000|nested too deep"):
        AvroDecoder(json.dumps(kinds), ())
