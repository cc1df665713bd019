"""Decodes Protobuf messages with the descriptor that the registry returns for their schema."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    message_factory,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.message import DecodeError
from google.type import (
    calendar_period_pb2,
    color_pb2,
    date_pb2,
    datetime_pb2,
    dayofweek_pb2,
    decimal_pb2,
    expr_pb2,
    fraction_pb2,
    interval_pb2,
    latlng_pb2,
    localized_text_pb2,
    money_pb2,
    month_pb2,
    phone_number_pb2,
    postal_address_pb2,
    quaternion_pb2,
    timeofday_pb2,
)

from services.ingest.core.framing import values
from services.ingest.core.framing.avro_schema import Unsafe
from services.ingest.core.framing.frame import Frame
from services.ingest.core.framing.protobuf_values import Budget, Messages
from shared.kernel.errors import UNREADABLE

INDEXES_MAX: Final = 32
"""How deep a message type may be declared within others."""

VARINT_BYTES_MAX: Final = 5
"""Bytes of one index: 32 bits."""

_MODULES: Final = (
    any_pb2, api_pb2, descriptor_pb2, duration_pb2, empty_pb2, field_mask_pb2, source_context_pb2,
    struct_pb2, timestamp_pb2, type_pb2, wrappers_pb2, calendar_period_pb2, color_pb2, date_pb2,
    datetime_pb2, dayofweek_pb2, decimal_pb2, expr_pb2, fraction_pb2, interval_pb2, latlng_pb2,
    localized_text_pb2, money_pb2, month_pb2, phone_number_pb2, postal_address_pb2, quaternion_pb2,
    timeofday_pb2,
)  # fmt: skip


def _own(name: str, **parts: Any) -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto(name=name, **parts)


def _decimal() -> descriptor_pb2.DescriptorProto:
    kind = descriptor_pb2.FieldDescriptorProto
    fields = (
        ("value", kind.TYPE_BYTES),
        ("precision", kind.TYPE_UINT32),
        ("scale", kind.TYPE_INT32),
    )
    return descriptor_pb2.DescriptorProto(
        name="Decimal",
        field=[
            kind(name=name, number=number, type=of, label=kind.LABEL_OPTIONAL)
            for number, (name, of) in enumerate(fields, 1)
        ],
    )


_DECIMAL: Final = "confluent/type/decimal.proto"
BUILT_IN: Final[Mapping[str, bytes]] = {
    **{module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb for module in _MODULES},
    **{
        each.name: each.SerializeToString()
        for each in (
            _own("confluent/meta.proto"),  # options alone, which decoding does not need
            _own(_DECIMAL, package="confluent.type", syntax="proto3", message_type=[_decimal()]),
            _own("confluent/types/decimal.proto", dependency=[_DECIMAL], public_dependency=[0]),
        )
    },
}
"""Files that serializers never send as references, by the path of their import."""

_FILE: Final = "ebbwatch/schema-of-the-record.proto"
"""The name of the schema's own file, since the registry keeps none."""

_WRONG: Final = (*UNREADABLE, DecodeError, TypeError, AttributeError, KeyError)
"""What the library raises on descriptors and bytes that are not well-formed."""


class ProtobufDecoder:
    """Decodes the messages of one schema."""

    def __init__(self, text: str, references: Mapping[str, str]) -> None:
        """`text`: its FileDescriptorProto in base64; `references`: those it imports, by path.

        Raises Unsafe where they cannot be used.
        """
        self._file = _descriptor(_FILE, text)
        self._pool = descriptor_pool.DescriptorPool()
        try:
            self._add(
                self._file, {name: _descriptor(name, references[name]) for name in references}
            )
        except _WRONG as error:
            raise Unsafe(f"{type(error).__name__}: {error!s:.200}") from error
        self._classes: dict[tuple[int, ...], Any] = {}
        self._messages = Messages()

    def __call__(self, frame: Frame) -> bytes:
        """Return the message as JSON; raises ValueError, with the field where one is known."""
        if frame.indexes is None:
            indexes, body = _indexes(frame.body)
        else:
            (indexes, left), body = _indexes(frame.indexes), frame.body
            if left:
                raise ValueError("bytes follow the message's indexes in the header")
        message = self._class(indexes)()
        try:
            message.ParseFromString(body)
        except DecodeError as error:
            raise ValueError(f"{_place(body, message)}no {message.DESCRIPTOR.full_name}") from error
        except UNREADABLE as error:
            raise ValueError(f"{error!s:.200}") from error
        try:
            return values.to_json(self._messages.convert(message, Budget()))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"{error!s:.200}") from error

    def _add(self, file: Any, references: Mapping[str, Any]) -> None:
        """Add a file to the pool behind those that it imports."""
        waiting, added, begun = [file], set[str](), set[str]()
        while waiting:
            each = waiting[-1]
            missing = [name for name in dict.fromkeys(each.dependency) if name not in added]
            if each.name in added or not missing:
                waiting.pop()
                if each.name not in added:
                    added.add(each.name)
                    self._pool.AddSerializedFile(each.SerializeToString())
                continue
            if each.name in begun:
                raise Unsafe(f"the file {each.name!r:.100} imports itself")
            begun.add(each.name)
            for name in missing:
                if name in BUILT_IN:
                    waiting.append(descriptor_pb2.FileDescriptorProto.FromString(BUILT_IN[name]))
                elif name in references:
                    waiting.append(references[name])
                else:
                    raise Unsafe(f"its import {name!r:.100} is not among its references")

    def _class(self, indexes: tuple[int, ...]) -> Any:
        """Return the class of the message type at these indexes; raises ValueError."""
        if indexes not in self._classes:
            types, names = self._file.message_type, [self._file.package]
            for index in indexes:
                if not 0 <= index < len(types):
                    raise ValueError(f"the schema has no message type {list(indexes)}")
                names.append(types[index].name)
                types = types[index].nested_type
            found = self._pool.FindMessageTypeByName(".".join(filter(None, names)))
            self._classes[indexes] = message_factory.GetMessageClass(found)
        return self._classes[indexes]


def _descriptor(name: str, text: str) -> Any:
    try:
        found = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError, *UNREADABLE) as error:
        why = "the registry must answer `format=serialized` with a descriptor in base64"
        raise Unsafe(f"{name!r:.100} is no descriptor: {why}") from error
    found.name = name
    return found


def _indexes(given: bytes) -> tuple[tuple[int, ...], bytes]:
    """Returns where the message type is declared, and what follows; raises ValueError.

    A count and as many indexes, each a zigzag varint; a count of 0 is short for the first type.
    """
    read = _zigzags(given)
    count, end = next(read)
    if count == 0:
        return (0,), given[end:]
    if not 0 < count <= INDEXES_MAX:
        raise ValueError(f"{count} message indexes; at most {INDEXES_MAX} are possible")
    found = []
    for _ in range(count):
        index, end = next(read)
        found.append(index)
    return tuple(found), given[end:]


def _zigzags(given: bytes) -> Iterator[tuple[int, int]]:
    """Yields each number, and where it ends."""
    end = 0
    while True:
        raw, end = _varint(given, end, VARINT_BYTES_MAX)
        yield (raw >> 1) ^ -(raw & 1), end


def _varint(given: bytes, begin: int, bytes_max: int) -> tuple[int, int]:
    """Returns a varint and where it ends; raises ValueError."""
    found = 0
    for at in range(begin, min(begin + bytes_max, len(given))):
        found |= (given[at] & 0x7F) << 7 * (at - begin)
        if given[at] < 0x80:  # noqa: PLR2004 (a varint's last byte)
            return found, at + 1
    raise ValueError("ends within the message's indexes, or they are none")


def _place(body: bytes, message: Any) -> str:
    """Returns the first field that cannot be read, for a message; empty where it is not known."""
    at = tag = 0
    while at < len(body):
        begin = at
        try:
            tag, at = _varint(body, at, 10)
            at = _skipped(body, at, tag & 7)
            message.ParseFromString(body[begin:at])
        except (ValueError, DecodeError):
            known = message.DESCRIPTOR.fields_by_number.get(tag >> 3)
            return f"field {known.name!r:.100}: " if known is not None else ""
    return ""


def _skipped(body: bytes, at: int, kind: int) -> int:
    """Returns where a field's value ends; raises ValueError."""
    if kind == 0:
        return _varint(body, at, 10)[1]
    sizes = {1: 8, 5: 4}
    if kind == 2:  # noqa: PLR2004 (the wire type of what has a length)
        size, at = _varint(body, at, 10)
    elif kind in sizes:
        size = sizes[kind]
    else:
        raise ValueError("a group, or no field")
    if at + size > len(body):
        raise ValueError("ends within a field")
    return at + size
