"""Framed records: what is written is read; arbitrary bytes and schemas are refused, never worse."""

import json
import random
import struct
from base64 import b64encode
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.core.framing.avro_schema import Unsafe
from services.ingest.core.framing.frame import Frame
from services.ingest.core.framing.schemas import Decoder, RegisteredSchema, make_decoder
from services.ingest.core.framing.values import decimal_text, single
from tests.fuzz.mutation import mutated
from tests.unit.ingest.framing.samples import EVENT, avro
from tests.unit.ingest.framing.test_avro import CHAIN, TREE
from tests.unit.ingest.framing.test_protobuf import ORDER, order
from tests.unit.ingest.test_open_frames import BODY

INT = st.integers(-(2**31), 2**31 - 1)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": INT,
    "long": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(max_size=8),
}


@st.composite
def written(draw: st.DrawFn, depth: int = 3) -> tuple[Any, Any]:
    """Draws a schema and a value of it, such as JSON has too."""
    kind = draw(st.sampled_from([*KINDS, *(["array", "map", "record", "union"] if depth else [])]))
    if kind in KINDS:
        return kind, draw(KINDS[kind])
    inner, value = draw(written(depth - 1))
    if kind == "union":
        return [inner] if isinstance(inner, list) or inner == "null" else ["null", inner], value
    if kind == "record":
        name = f"R{depth}"
        field = draw(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True))
        return {"type": "record", "name": name, "fields": [{"name": field, "type": inner}]}, {
            field: value
        }
    if kind == "map":
        keys = draw(st.lists(st.text(max_size=4), max_size=3, unique=True))
        return {"type": "map", "values": inner}, dict.fromkeys(keys, value)
    return {"type": "array", "items": inner}, [value] * draw(st.integers(0, 3))


@given(written())
def test_what_is_written_in_avro_is_read(sample: tuple[Any, Any]) -> None:
    """Or the schema is refused: lists of what takes no bytes."""
    schema, value = sample
    body = avro(schema, value)
    try:
        decoder = make_decoder(RegisteredSchema(json.dumps(schema)), {})
    except Unsafe as refusal:
        assert "no bytes" in str(refusal)
        return
    assert json.loads(decoder(Frame(1, body))) == value


def _decoders() -> list[tuple[Decoder, tuple[bytes, ...]]]:
    avros = [(EVENT, BODY), (TREE, avro(TREE, {"name": "a", "children": []})), (CHAIN, b"\2\2\0")]
    found: list[tuple[Decoder, tuple[bytes, ...]]] = [
        (make_decoder(RegisteredSchema(json.dumps(schema)), {}), (body,)) for schema, body in avros
    ]
    descriptor = b64encode(ORDER.SerializeToString()).decode()
    whole = order(id="a", lines=[{"sku": "b"}], parent={"id": "c"}, time={"seconds": 1})
    body = b"\0" + whole.SerializeToString()
    found.append((make_decoder(RegisteredSchema(descriptor, "PROTOBUF"), {}), (body, b"\2\2")))
    return found


DECODERS = _decoders()


@given(st.sampled_from(DECODERS), st.binary(max_size=200) | st.integers(0, 2**32))
def test_bytes_of_another_schema_are_read_or_refused(
    decoding: tuple[Decoder, tuple[bytes, ...]], given_bytes: bytes | int
) -> None:
    """Arbitrary bytes, and those of the schema with a few changes."""
    decoder, samples = decoding
    if isinstance(given_bytes, int):
        given_bytes = mutated(random.Random(given_bytes), samples)  # noqa: S311
    try:
        value = decoder(Frame(1, given_bytes))
    except ValueError as refusal:
        assert 0 < len(str(refusal)) < 400
    else:
        json.loads(value)


SCHEMAS = st.recursive(
    st.sampled_from(["null", "int", "string", "bytes", "A", "B", "a b", 7, None, True, -1, 10**30]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {"type": st.sampled_from(["record", "array", "map", "enum", "fixed", "A", []]) | inner},
            optional={
                "name": st.sampled_from(["A", "B", "x.A", ""]) | inner,
                "items": inner,
                "values": inner,
                "symbols": st.lists(st.sampled_from(["A", "B", "", 7]), max_size=2) | inner,
                "size": inner,
                "scale": inner,
                "namespace": inner,
                "logicalType": st.sampled_from(["decimal", "uuid", "timestamp-millis", 7]) | inner,
                "fields": st.lists(
                    st.fixed_dictionaries({"name": st.sampled_from(["a", "b"]), "type": inner}),
                    max_size=2,
                ),
            },
        )
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.binary(max_size=60))
def test_an_arbitrary_schema_is_refused_or_decodes(schema: Any, body: bytes) -> None:
    try:
        decoder = make_decoder(RegisteredSchema(json.dumps(schema)), {})
    except Unsafe as refusal:
        assert str(refusal)
        return
    try:
        json.loads(decoder(Frame(1, body)))
    except ValueError as refusal:
        assert str(refusal)


@given(st.binary(max_size=300))
def test_an_arbitrary_descriptor_is_refused_or_decodes(descriptor: bytes) -> None:
    """Also the descriptor of orders with a few changes."""
    rng = random.Random(descriptor)  # noqa: S311
    for each in (descriptor, mutated(rng, (ORDER.SerializeToString(),))):
        text = b64encode(each).decode()
        try:
            decoder = make_decoder(RegisteredSchema(text, "PROTOBUF"), {})
            json.loads(decoder(Frame(1, b"\x0a\1a", b"\0")))
        except ValueError as refusal:
            assert str(refusal)


@given(st.integers(-(10**20), 10**20), st.integers(0, 30))
def test_a_decimal_is_exact(unscaled: int, scale: int) -> None:
    size = unscaled.bit_length() // 8 + 1
    text = decimal_text(unscaled.to_bytes(size, "big", signed=True), scale)
    whole, _, fraction = text.partition(".")
    assert int(whole + fraction) == unscaled
    assert len(fraction) == scale


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(999999986991104.0)  # 1e15: fewer digits, and more characters
def test_a_single_float_keeps_its_value(value: float) -> None:
    """The number of fewer digits is the same one in 32 bits."""
    (again,) = {single(single(value)), single(value)}
    assert struct.pack("<f", again) == struct.pack("<f", value)
    digits, before = (Decimal(repr(x)).normalize().as_tuple().digits for x in (again, value))
    assert len(digits) <= len(before)
