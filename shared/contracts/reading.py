"""Decodes a message of a topic, or raises Invalid: any process may have written there."""

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from shared.kernel.errors import UNREADABLE, Invalid
from shared.kernel.times import in_utc

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def read(decoder: msgspec.json.Decoder[T], value: bytes | None) -> T:
    """Returns the message in a record's value.

    >>> from shared.contracts.risk import DECODER
    >>> try: read(DECODER, b"\\xff")
    ... except Invalid as wrong: print(wrong.field)
    value
    """
    try:
        return decoder.decode(value or b"")
    except UNREADABLE as error:
        raise Invalid("value", str(error) or type(error).__name__) from None


def with_utc(message: S, *fields: str) -> S:
    """Returns the message with these times converted to UTC; Invalid where that is impossible.

    Another writer's offset may be one that JSON takes and PostgreSQL does not (`+23:59`).
    """
    times: dict[str, datetime | None] = {field: getattr(message, field) for field in fields}
    moved = {field: in_utc(field, at) for field, at in times.items() if at is not None}
    if all(at is None or at.tzinfo is UTC for at in times.values()):
        return message
    return msgspec.structs.replace(message, **moved)
