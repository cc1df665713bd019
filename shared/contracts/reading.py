"""Reads a message of a topic: what it says, or Invalid. Anybody may have written there."""

from typing import TypeVar

import msgspec

from shared.kernel.errors import Invalid

T = TypeVar("T")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that a decoder raises for bytes that are not what it is for."""


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
