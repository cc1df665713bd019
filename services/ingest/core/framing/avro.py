"""Decodes Avro with the schema that it was written with."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import fastavro
import orjson
from fastavro.read import LOGICAL_READERS

from services.ingest.core.framing import values
from services.ingest.core.framing.avro_schema import (
    COUNTED,
    PREFIX,
    SINGLE,
    TOO_DEEP,
    Unsafe,
    rewritten,
)
from services.ingest.core.framing.frame import Frame
from shared.kernel.errors import UNREADABLE

RECORDS_MAX: Final = 20_000
"""Records within the lists and maps of one value: an order has some hundred lines, and each costs
some hundred bytes of memory, whatever it takes in Avro."""

_FAILURES: Final = (*UNREADABLE, EOFError, IndexError, KeyError, TypeError, AttributeError)
"""What the library raises on bytes that are not of the schema."""


class _Count:
    """Counts the records within one value; decoding is never interrupted by another."""

    records = 0


def _counted(record: Any, *_: Any) -> Any:
    _Count.records += 1
    if _Count.records > RECORDS_MAX:
        raise ValueError(f"more than {RECORDS_MAX:,} records in lists and maps")
    return record


def _too_deep(*_: Any) -> Any:
    raise ValueError("a type holds itself too often")


READERS: Final[dict[str, Callable[..., Any]]] = {
    f"record-{PREFIX}{COUNTED}": _counted,
    f"null-{PREFIX}{TOO_DEEP}": _too_deep,
    f"float-{PREFIX}{SINGLE}": lambda value, *_: values.single(value),
    f"long-{PREFIX}timestamp-millis": lambda value, *_: values.instant(value * 1_000),
    f"long-{PREFIX}timestamp-micros": lambda value, *_: values.instant(value),
    f"long-{PREFIX}timestamp-nanos": lambda value, *_: values.instant(value // 1_000),
    f"long-{PREFIX}local-timestamp-millis": lambda value, *_: values.local_time(value * 1_000),
    f"long-{PREFIX}local-timestamp-micros": lambda value, *_: values.local_time(value),
    f"long-{PREFIX}local-timestamp-nanos": lambda value, *_: values.local_time(value // 1_000),
    f"long-{PREFIX}time-micros": lambda value, *_: values.time_of_day(value),
    f"int-{PREFIX}time-millis": lambda value, *_: values.time_of_day(value * 1_000),
    f"int-{PREFIX}date": lambda value, *_: values.day(value),
    f"bytes-{PREFIX}decimal": lambda value, at, *_: values.decimal_text(value, at["scale"]),
    f"fixed-{PREFIX}decimal": lambda value, at, *_: values.decimal_text(value, at["scale"]),
    f"fixed-{PREFIX}uuid": lambda value, *_: str(UUID(bytes=value)),
}
"""Called with a decoded value and its type; the library finds them by these names."""

LOGICAL_READERS.update(READERS)


class AvroDecoder:
    """Decodes the values that were written with one schema."""

    def __init__(self, text: str, references: Sequence[str]) -> None:
        """`references`: the schemas that it refers to, those that others need first.

        Raises Unsafe where they cannot be used.
        """
        try:
            parsed = orjson.loads(text) if text.lstrip()[:1] in ("{", "[", '"') else text.strip()
            self._schema = rewritten(parsed, [orjson.loads(each) for each in references])
            self._parsed = fastavro.parse_schema(self._schema)
        except Unsafe:
            raise
        except (*UNREADABLE, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
            raise Unsafe(f"{type(error).__name__}: {error!s:.150}") from error
        self._beginning = lru_cache(maxsize=64)(self._beginning_of)

    def __call__(self, frame: Frame) -> bytes:
        """Return the value as JSON; raises ValueError with the field where it cannot be decoded."""
        stream = BytesIO(frame.body)
        _Count.records = 0
        try:
            value = fastavro.schemaless_reader(stream, self._parsed, None)
            left = len(frame.body) - stream.tell()
            if not left:
                return values.to_json(value)
        except _FAILURES as error:
            raise ValueError(f"{self._place(frame.body)}{_why(error)}") from error
        raise ValueError(f"{left:,} bytes follow the value: it has another schema")

    def _place(self, body: bytes) -> str:
        """Return the field of the outermost record that cannot be decoded, for a message."""
        fields = self._schema.get("fields") if isinstance(self._schema, dict) else None
        if not fields:
            return ""
        good, bad = 0, len(fields)  # how many fields can be read, and cannot
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self._reads(body, middle) else (good, middle)
        return f"field {fields[good]['name']!r:.100}: "

    def _reads(self, body: bytes, fields: int) -> bool:
        _Count.records = 0
        try:
            value = fastavro.schemaless_reader(BytesIO(body), self._beginning(fields), None)
            values.to_json(value)
        except _FAILURES:
            return False
        return True

    def _beginning_of(self, fields: int) -> Any:
        """Return the schema of the first fields alone."""
        shorter = self._schema | {"fields": self._schema["fields"][:fields]}
        return fastavro.parse_schema(shorter)


def _why(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the value ends within it"
    return f"{error!s:.150}" or type(error).__name__
