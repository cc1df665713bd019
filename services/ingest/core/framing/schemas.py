"""Reads what a schema registry answers, and makes a decoder of it."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from services.ingest.core.faults import decoded
from services.ingest.core.framing.avro import AvroDecoder
from services.ingest.core.framing.avro_schema import Unsafe
from services.ingest.core.framing.frame import Frame, SchemaKey
from services.ingest.core.framing.protobuf import ProtobufDecoder
from shared.kernel.errors import UNREADABLE

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Bytes of one answer, a schema of some thousand fields; and of a schema with all it refers to."""

REFERENCES_MAX: Final = 100
"""Schemas that one schema refers to, directly and by others."""

REFERENCE_DEPTH_MAX: Final = 10
"""Schemas in a row of which each refers to the next."""

AVRO: Final = "AVRO"
PROTOBUF: Final = "PROTOBUF"
JSON: Final = "JSON"

Decoder = Callable[[Frame], bytes]
"""Returns the value of a frame as JSON; raises ValueError where it cannot be decoded."""


class Reference(msgspec.Struct, frozen=True):
    """A schema that another one refers to. `name`: as it is referred to."""

    name: Annotated[str, Meta(min_length=1, max_length=500)]
    subject: Annotated[str, Meta(min_length=1, max_length=500)]
    version: Annotated[int, Meta(ge=1)]


class RegisteredSchema(msgspec.Struct, frozen=True, rename={"type": "schemaType"}):
    """A schema as the registry returns it. Where no type is named, it is Avro."""

    schema: str
    type: Annotated[str, Meta(max_length=100)] | None = AVRO
    references: list[Reference] | None = None


class _Refusal(msgspec.Struct):
    error_code: int


_SCHEMA: Final = msgspec.json.Decoder(RegisteredSchema)
_REFUSAL: Final = msgspec.json.Decoder(_Refusal)
_NOT_FOUND: Final = "404"


def read_schema(answer: bytes) -> RegisteredSchema:
    """Returns the schema of an answer; raises Invalid where it is not what a registry sends."""
    return decoded(_SCHEMA, answer, "answer")


def is_not_found(answer: bytes) -> bool:
    """Returns whether a registry answers that it does not have something: 404, 40401 to 40403.

    A proxy, or a wrong address, answers 404 too, and without such a code.

    >>> is_not_found(b'{"error_code": 40403, "message": "Schema not found"}')
    True
    >>> is_not_found(b"<h1>Not Found</h1>")
    False
    """
    try:
        return str(_REFUSAL.decode(answer).error_code).startswith(_NOT_FOUND)
    except UNREADABLE:
        return False


def named(key: SchemaKey) -> str:
    """Returns what a schema is called in messages."""
    return f"schema {key}"


def make_decoder(schema: RegisteredSchema, references: Mapping[str, str]) -> Decoder:
    """Returns the decoder of a schema; raises Unsafe where it cannot be used.

    `references`: texts of the schemas that it refers to, by name; those that others need first.
    JSON is not compared with its JSON Schema: its sender did so, and its content is checked as that
    of every event.
    """
    kind = schema.type or AVRO
    if kind == AVRO:
        return AvroDecoder(schema.schema, list(references.values()))
    if kind == PROTOBUF:
        return ProtobufDecoder(schema.schema, references)
    if kind == JSON:
        return lambda frame: frame.body
    raise Unsafe(f"the type {kind!r} is not known: {AVRO}, {PROTOBUF} and {JSON} are")
