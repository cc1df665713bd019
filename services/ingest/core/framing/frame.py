"""Recognises records that name a schema of a registry, in Confluent's wire format.

The value begins with a magic byte and the schema's number (0, then 4 bytes, big endian) or its GUID
(1, then 16 bytes); or that is in the header `__value_schema_id`, and the value is the body alone.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.ingest.core.faults import WHOLE, fault
from shared.contracts.dead_letter import Headers

HEADER: Final = "__value_schema_id"
BY_NUMBER: Final = 0
BY_GUID: Final = 1
NUMBER_END: Final = 5
GUID_END: Final = 17
NUMBER_MAX: Final = 2**31 - 1
"""The registry's numbers are 32-bit integers with a sign."""

SchemaKey = int | UUID
"""What a record calls its schema: its number or its GUID."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A framed record. `indexes`: where a Protobuf message's indexes begin; None: in `body`."""

    schema: SchemaKey
    body: bytes
    indexes: bytes | None = None


def frame_of(value: bytes, headers: Headers) -> Frame | None:
    """Returns the frame of a record; None where it is none; raises Invalid for half of one.

    A value of JSON never begins with a magic byte, so one topic may hold both.

    >>> frame_of(b"\\x00\\x00\\x00\\x00\\x07body", ())
    Frame(schema=7, body=b'body', indexes=None)
    >>> frame_of(b"{}", ()) is None
    True
    """
    for name, given in headers:
        if name == HEADER:
            schema, rest = _split(given or b"", HEADER)
            return Frame(schema, value, rest)
    if value[:1] not in (b"\0", b"\1"):
        return None
    schema, body = _split(value, WHOLE)
    return Frame(schema, body)


def _split(given: bytes, field: str) -> tuple[SchemaKey, bytes]:
    """Returns the schema and what follows it."""
    magic = given[0] if given else None
    if magic == BY_NUMBER and len(given) >= NUMBER_END:
        number = int.from_bytes(given[1:NUMBER_END], "big")
        if number > NUMBER_MAX:
            raise fault(field, f"schema {number}: a registry has no number above {NUMBER_MAX}")
        return number, given[NUMBER_END:]
    if magic == BY_GUID and len(given) >= GUID_END:
        return UUID(bytes=given[1:GUID_END]), given[GUID_END:]
    if magic in (BY_NUMBER, BY_GUID):
        raise fault(field, f"ends within the schema's id, after {len(given)} bytes")
    raise fault(field, "begins with neither 0 (a schema's number) nor 1 (its GUID)")
