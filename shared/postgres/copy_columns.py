"""Writes columns to a table by COPY, in PostgreSQL's binary format.

For thousands of rows with times, or with numbers that are columns already: numpy encodes the
numbers of all rows at once, times among them. For each time object asyncpg's own
`copy_records_to_table` does more work than for all else in a row; for other rows it is the faster
way. This module knows no table.

The format: PostgreSQL's documentation of COPY, "Binary Format".
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from shared.kernel.arrays import Floats, Ints
from shared.postgres.engine import Driver

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH_S: Final = 946_684_800
"""PostgreSQL's times count from 2000-01-01."""
_SIZES_CACHED: Final = 4_096
"""Text sizes up to 4 KB: their four-byte forms are cached."""
_ARRAYS_CACHED: Final = 4_096
"""Arrays of words, up to some hundred bytes each: few of them differ."""
_TEXT: Final = 25
"""PostgreSQL's number (OID) of the type text."""

Numbers = Mapping[str, NDArray[Any]]
Words = Mapping[str, Sequence[bytes | None]]


async def copy_columns(
    driver: Driver, table: str, numbers: Numbers, words: Words, *, schema: str | None = None
) -> None:
    """Append one row for each element of the columns, which all have one length.

    `numbers` by column: int16, int32, int64, float64 or bool, as wide as the column's type, or
    `timestamps`; never NULL. `words`: UTF-8 text or bytes; None is NULL.
    """
    await driver.copy_to_table(
        table,
        # The driver accepts anything with a buffer, though its types do not show it; plain bytes it
        # would take for the name of a file.
        source=cast("Any", memoryview(binary(numbers, words))),
        schema_name=schema,
        columns=[*numbers, *words],
        format="binary",
    )


def timestamps(seconds: Floats) -> Ints:
    """Converts Unix seconds UTC to PostgreSQL's timestamptz."""
    return np.asarray(np.rint(seconds * 1e6), np.int64) - _EPOCH_S * 1_000_000


@lru_cache(_ARRAYS_CACHED)
def texts(words: tuple[str, ...]) -> bytes:
    """Encodes an array of words as PostgreSQL's text[]."""
    if not words:
        return struct.pack(">iii", 0, 0, _TEXT)
    encoded = [word.encode() for word in words]
    head = struct.pack(">iiiii", 1, 0, _TEXT, len(encoded), 1)
    return head + b"".join(_size(len(one)) + one for one in encoded)


def binary(numbers: Numbers, words: Words) -> bytes:
    """Builds the whole input of COPY; columns in the order of both mappings."""
    parts: list[Sequence[bytes]] = [_laid_out(numbers, len(numbers) + len(words))]
    for column in words.values():
        parts.append([_NULL if one is None else _size(len(one)) for one in column])
        parts.append([one or b"" for one in column])
    rows = chain.from_iterable(zip(*parts, strict=True))
    return b"".join(chain((_HEADER,), rows, (_TRAILER,)))


def _laid_out(numbers: Numbers, columns: int) -> list[bytes]:
    """Encodes for each row its number of columns, and the size and value of each number."""
    fields = [("columns", ">i2")]
    for name, column in numbers.items():
        kind = column.dtype.newbyteorder(">") if column.dtype.itemsize > 1 else column.dtype
        fields += [(f"size of {name}", ">i4"), (name, kind.str)]
    block = np.empty(len(next(iter(numbers.values()))), fields)
    block["columns"] = columns
    for name, column in numbers.items():
        block[f"size of {name}"], block[name] = column.dtype.itemsize, column
    raw, width = block.tobytes(), block.dtype.itemsize
    return [raw[at : at + width] for at in range(0, len(raw), width)]


@lru_cache(_SIZES_CACHED)
def _size(of: int) -> bytes:
    return of.to_bytes(4, "big")
