"""Reads a query into columns: PostgreSQL concatenates the values of all rows into one row.

For reading thousands of rows into numpy columns. Otherwise asyncpg makes an object of every value
and a record of every row: four fifths of the time that such a read takes here. This module knows no
table; `copy_columns` is the way back.

The format of numbers is that of the wire: PostgreSQL's `float8send` and its like, big-endian.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.postgres.engine import Driver

Kind = Literal["float8", "int8", "int4", "int2", "bool"]

_KINDS: Final[Mapping[Kind, tuple[str, str, type[np.generic]]]] = {
    "float8": ("float8send", ">f8", np.float64),
    "int8": ("int8send", ">i8", np.int64),
    "int4": ("int4send", ">i4", np.int64),
    "int2": ("int2send", ">i2", np.int64),
    "bool": ("boolsend", "?", np.bool_),
}
_PLACE: Final = "place"


@dataclass(frozen=True, slots=True)
class Gathered:
    """The columns of a query, all of one length and order."""

    numbers: dict[str, NDArray[Any]]
    """float64, int64 or bool."""
    words: dict[str, list[Any]]
    """Text, bytes or times as Python objects; None for NULL."""


class Gathering:
    """A query with its rows returned as columns.

    `numbers` by name: the kind and the expression; NULL becomes NaN, and is an error where the kind
    has none. `words` by name: an expression of text, bytes or times. `place`: an int8 expression by
    which the rows are sorted here, since PostgreSQL sorts whole rows (rows already in order, as
    from an index, are left as they are). `rows`: the query from FROM on.
    """

    def __init__(
        self,
        numbers: Mapping[str, tuple[Kind, str]],
        words: Mapping[str, str],
        rows: str,
        *,
        place: str | None = None,
    ) -> None:
        self._kinds = {name: kind for name, (kind, _) in numbers.items()}
        asked = dict(numbers)
        if place is not None:
            self._kinds[_PLACE] = "int8"
            asked[_PLACE] = ("int8", place)
        self._words = tuple(words)
        columns = [_as_text(kind, expression) for kind, expression in asked.values()]
        columns += [f"array_agg({expression})" for expression in words.values()]
        self.statement = f"SELECT {', '.join(columns)} {rows}"

    async def fetch(self, driver: Driver, *arguments: object) -> Gathered:
        """Run the query. Raises AssertionError where a number of a kind without NaN was NULL."""
        (row,) = map(tuple, await driver.fetch(self.statement, *arguments))
        kinds = list(self._kinds.items())
        found = {name: _column(kind, text) for (name, kind), text in zip(kinds, row, strict=False)}
        words: dict[str, list[Any]] = {
            name: list(column or ())
            for name, column in zip(self._words, row[len(kinds) :], strict=True)
        }
        sizes = {*map(len, found.values()), *map(len, words.values())}
        if len(sizes) != 1:
            raise AssertionError("a number of this query is NULL, which its kind cannot express")
        return self._ordered(found, words)

    def _ordered(self, numbers: dict[str, NDArray[Any]], words: dict[str, list[Any]]) -> Gathered:
        place = numbers.pop(_PLACE, None)
        if place is None or (np.diff(place) > 0).all():
            return Gathered(numbers, words)
        order = np.argsort(place, kind="stable")
        return Gathered(
            {name: column[order] for name, column in numbers.items()},
            {name: [column[at] for at in order.tolist()] for name, column in words.items()},
        )


def _as_text(kind: Kind, expression: str) -> str:
    send = _KINDS[kind][0]
    value = f"coalesce({expression}, 'NaN')" if kind == "float8" else expression
    return f"string_agg({send}({value}), '')"


def _column(kind: Kind, strung: bytes | None) -> NDArray[Any]:
    _, wire, column = _KINDS[kind]
    return np.frombuffer(strung or b"", wire).astype(column)
