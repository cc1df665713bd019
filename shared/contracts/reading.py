"""Reads a message of a topic: what it says, or Invalid. Anybody may have written there."""

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from shared.kernel.errors import UNREADABLE, Invalid
from shared.kernel.times import in_utc

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def read(decoder: msgspec.json.Decoder[T], value: bytes | None) -> T:
    """The message in a record's value.

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
    """The message with these times in UTC, as we write them; Invalid for one that cannot be.

    Another writer's offset may be one that JSON takes and PostgreSQL does not (`+23:59`).
    """
    times: dict[str, datetime | None] = {field: getattr(message, field) for field in fields}
    moved = {field: in_utc(field, at) for field, at in times.items() if at is not None}
    if all(at is None or at.tzinfo is UTC for at in times.values()):
        return message
    return msgspec.structs.replace(message, **moved)
