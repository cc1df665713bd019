"""Columns of equal length, handled as one: rows are taken from them and put into them together.

A batch reads and keeps thousands of customers this way, without an object for each. This module
never interprets a value.
"""

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields, replace
from itertools import repeat
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.state import empty
from shared.kernel.arrays import Codes, Flags, Floats, Ints

EMPTY: Final = "empty"
"""Key of a field's metadata: what its column holds where there is nothing, if it is not usual."""
_USUAL: Final[dict[Any, tuple[Any, type]]] = {
    Floats: (np.nan, np.float64),
    Ints: (0, np.int64),
    Codes: (-1, np.int8),
    Flags: (False, np.bool_),
    NDArray[np.int16]: (0, np.int16),
    NDArray[np.object_]: (None, np.object_),
}
"""Usual value and type of a column where there is nothing, by the annotation of its field."""


@dataclass(slots=True)
class Columns:
    """Base of dataclasses with arrays of the same length as fields: one element per row."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def nothing(cls, n: int) -> Self:
        """Return `n` rows for which nothing is known: NaN, 0, -1 (no code), False or None."""
        return cls(**{f.name: _nothing(f, n) for f in fields(cls)})

    def take(self, rows: Ints) -> Self:
        """Return these rows, in this order, as new columns."""
        found = {f.name: _taken(getattr(self, f.name), rows) for f in fields(self)}
        return replace(self, **found)

    def put(self, rows: Ints, other: Self) -> None:
        """Row i of the other becomes row `rows[i]` of this one."""
        for f in fields(self):
            _whole(getattr(self, f.name))[rows] = _whole(getattr(other, f.name))


def codes(words: Sequence[str | None], of: Sequence[str]) -> Codes:
    """int8[n]: the index of each word in `of`; -1 for None and for a word that is not in it."""
    index: dict[str | None, int] = {word: code for code, word in enumerate(of)}
    return np.fromiter(map(index.get, words, repeat(-1)), np.int8, len(words))


def objects(things: Sequence[object]) -> NDArray[np.object_]:
    """Return a column of Python objects; a value that is itself a sequence stays one element."""
    column = np.empty(len(things), np.object_)
    column[:] = things
    return column


def _nothing(of: Field[Any], n: int) -> NDArray[Any]:
    if of.type == NDArray[np.void]:
        return empty(n)
    value, kind = _USUAL[of.type]
    return np.full(n, of.metadata.get(EMPTY, value), kind)


def _taken(column: NDArray[Any], rows: Ints) -> NDArray[Any]:
    found = _whole(column)[rows]
    return found.view(column.dtype) if column.dtype.names else found


def _whole(column: NDArray[Any]) -> NDArray[Any]:
    """View records as plain bytes: numpy copies them by field otherwise, twenty times slower."""
    if column.dtype.names is None:
        return column
    return column.view(np.dtype((np.void, column.dtype.itemsize)))
