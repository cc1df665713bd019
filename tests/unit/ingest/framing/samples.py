"""Framed records for tests, written with the formats' own libraries."""

import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
TYPES: Final = {
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
    "int64": Field.TYPE_INT64,
    "double": Field.TYPE_DOUBLE,
    "float": Field.TYPE_FLOAT,
    "bool": Field.TYPE_BOOL,
}

EVENT: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Event",
    "namespace": "shop",
    "fields": [
        {"name": "specversion", "type": "string"},
        {"name": "id", "type": "string"},
        {"name": "source", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "subject", "type": ["null", "string"], "default": None},
        {
            "name": "data",
            "type": {
                "type": "record",
                "name": "Purchase",
                "fields": [
                    {
                        "name": "amount",
                        "type": {
                            "type": "bytes",
                            "logicalType": "decimal",
                            "precision": 12,
                            "scale": 2,
                        },
                    },
                    {"name": "currency", "type": "string"},
                    {"name": "channel", "type": ["null", "string"], "default": None},
                ],
            },
        },
    ],
}
"""A CloudEvent of a purchase, as a company would declare it in Avro."""


def avro(schema: Any, value: Any) -> bytes:
    """Return a value in Avro."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def framed(number: int, body: bytes) -> bytes:
    """Return a body behind its schema's number."""
    return b"\0" + number.to_bytes(4, "big") + body


def message(name: str, fields: Iterable[tuple[str, str]], *inner: Any) -> Any:
    """Return the descriptor of a message type; a field is its name and its type.

    A type is one of `TYPES`, or a full name behind a point; before it `optional `, `repeated `.
    """
    made = descriptor_pb2.DescriptorProto(name=name, nested_type=inner)
    for number, (field, kind) in enumerate(fields, 1):
        label, _, of = kind.rpartition(" ")
        each = made.field.add(name=field, number=number, label=Field.LABEL_OPTIONAL)
        if label == "repeated":
            each.label = Field.LABEL_REPEATED
        if label == "optional":
            each.proto3_optional, each.oneof_index = True, len(made.oneof_decl)
            made.oneof_decl.add(name=f"_{field}")
        if of in TYPES:
            each.type = TYPES[of]
        else:
            each.type = Field.TYPE_MESSAGE
            each.type_name = of
    return made


def file(*types: Any, imports: Sequence[str] = (), name: str = "", package: str = "shop") -> Any:
    """Return the descriptor of a file with these message types."""
    return descriptor_pb2.FileDescriptorProto(
        name=name or "shop.proto",
        package=package,
        syntax="proto3",
        message_type=types,
        dependency=imports,
    )


def protobuf_class(full_name: str, *files: Any) -> Any:
    """Return the class of a message type, from files in the order of their imports."""
    pool = descriptor_pool.DescriptorPool()
    for each in files:
        pool.AddSerializedFile(each if isinstance(each, bytes) else each.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))
