"""Turns Protobuf messages into values for JSON, by the names of the schema.

Numbers, booleans and enums are always there, since zero is a value of theirs; texts, bytes, lists
and maps only where they are not empty; messages and `optional` fields only where they were set.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.ingest.core.framing import values

VALUES_MAX: Final = 200_000
"""Values of one message, those that are zero and take no bytes included."""


class Budget:
    """Counts the values of one message."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = VALUES_MAX

    def spend(self, count: int) -> None:
        """Raise ValueError beyond `VALUES_MAX`."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"more than {VALUES_MAX:,} values")


Convert = Callable[[Any, Budget], Any]
"""Turns one value; raises ValueError, TypeError or AttributeError where it cannot."""


def _same(value: Any, _: Budget) -> Any:
    return value


def _timestamp(value: Any, _: Budget) -> Any:
    return values.instant(value.seconds * 1_000_000 + value.nanos // 1_000)


def _duration(value: Any, _: Budget) -> str:
    return f"{Decimal(value.seconds) + Decimal(value.nanos).scaleb(-9):f}s"


def _struct(value: Any, budget: Budget) -> dict[str, Any]:
    budget.spend(len(value.fields))
    return {name: _value(value.fields[name], budget) for name in value.fields}


def _list(value: Any, budget: Budget) -> list[Any]:
    budget.spend(len(value.values))
    return [_value(each, budget) for each in value.values]


def _value(value: Any, budget: Budget) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _struct(value.struct_value, budget)
    if kind == "list_value":
        return _list(value.list_value, budget)
    return None if kind in (None, "null_value") else getattr(value, kind)


_WRAPPED: Final = ("Double", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
WELL_KNOWN: Final[dict[str, Convert]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": lambda value, _: ",".join(value.paths),
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list,
    "google.protobuf.Value": _value,
    "google.protobuf.FloatValue": lambda value, _: values.single(value.value),
    **{f"google.protobuf.{name}Value": lambda value, _: value.value for name in _WRAPPED},
    "google.type.Decimal": lambda value, _: value.value,
    "confluent.type.Decimal": lambda value, _: values.decimal_text(value.value, value.scale),
}
"""Messages that are one value in JSON, by their full name."""


class Messages:
    """Turns messages of the types of one schema."""

    def __init__(self) -> None:
        self._fields: dict[str, list[tuple[str, Callable[[Any, Budget], Any]]]] = {}
        """By the full name of a message type, made when one is first seen."""

    def convert(self, message: Any, budget: Budget) -> Any:
        """Return a message as a JSON object, or the value that a well-known one stands for."""
        descriptor = message.DESCRIPTOR
        known = WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return known(message, budget)
        fields = self._fields.get(descriptor.full_name)
        if fields is None:
            fields = [(field.name, self._reader(field)) for field in descriptor.fields]
            self._fields[descriptor.full_name] = fields
        budget.spend(len(fields))
        found = {}
        for name, read in fields:
            try:
                value = read(message, budget)
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"field {name!r:.100}: {error!s:.200}") from error
            if value is not None:
                found[name] = value
        return found

    def _reader(self, field: FieldDescriptor) -> Convert:
        """Return what reads a field of a message; None where it is left out."""
        name, convert = field.name, self._convert(field)
        if _is_map(field.message_type):
            inner = self._convert(field.message_type.fields_by_name["value"])
            return _map_reader(name, inner)
        if field.is_repeated:
            return _list_reader(name, convert)
        if field.has_presence:
            return lambda m, budget: convert(getattr(m, name), budget) if m.HasField(name) else None
        if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
            return lambda m, _: getattr(m, name) or None
        return lambda m, budget: convert(getattr(m, name), budget)

    def _convert(self, field: FieldDescriptor) -> Convert:
        if field.message_type is not None:
            return self.convert
        if field.enum_type is not None:
            names = {number: each.name for number, each in field.enum_type.values_by_number.items()}
            return lambda value, _: names.get(value, value)
        if field.type == field.TYPE_FLOAT:
            return lambda value, _: values.single(value)
        return _same


def _list_reader(name: str, convert: Convert) -> Convert:
    def read(message: Any, budget: Budget) -> Any:
        given = getattr(message, name)
        budget.spend(len(given))
        return [convert(each, budget) for each in given] or None

    return read


def _map_reader(name: str, convert: Convert) -> Convert:
    def read(message: Any, budget: Budget) -> Any:
        given = getattr(message, name)
        budget.spend(len(given))
        return {_key(key): convert(given[key], budget) for key in given} or None

    return read


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _is_map(descriptor: Descriptor | None) -> bool:
    return descriptor is not None and bool(descriptor.GetOptions().map_entry)
