"""Columns from a query: every kind of number, NULL, and the order of the rows."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import unit_of_work
from shared.postgres.fetch_columns import Gathered, Gathering

pytestmark = pytest.mark.stack

ROWS = """
FROM (SELECT n::int8, small::int2, whole::int4, real::float8, flag, name, bytes::bytea
        FROM (VALUES (1, -1, 2147483647, '0.1', true, 'ann', '\\x00ff'),
                     (2, 0, -2147483648, NULL, false, NULL, NULL),
                     (3, 32767, 7, '-Infinity', true, '客户-七', '\\x'))
             AS v(n, small, whole, real, flag, name, bytes)) r
"""


async def gathered(engine: AsyncEngine, query: Gathering, *arguments: object) -> Gathered:
    """Return the columns of one query."""
    async with unit_of_work(engine) as work:
        return await query.fetch(work.driver, *arguments)


async def test_each_kind_as_it_is_stored(engine: AsyncEngine) -> None:
    """The least and the greatest value of each kind, text beyond ASCII, empty bytes.

    NULL is NaN or None.
    """
    found = await gathered(
        engine,
        Gathering(
            {
                "n": ("int8", "r.n"),
                "small": ("int2", "r.small"),
                "whole": ("int4", "r.whole"),
                "real": ("float8", "r.real"),
                "flag": ("bool", "r.flag"),
            },
            {"name": "r.name", "bytes": "r.bytes"},
            ROWS,
        ),
    )
    wanted: dict[str, Any] = {
        "n": np.array([1, 2, 3]),
        "small": np.array([-1, 0, 32_767]),
        "whole": np.array([2**31 - 1, -(2**31), 7]),
        "real": np.array([0.1, np.nan, -np.inf]),
        "flag": np.array([True, False, True]),
    }
    assert found.numbers.keys() == wanted.keys()
    for name, column in wanted.items():
        assert found.numbers[name].dtype == column.dtype
        np.testing.assert_array_equal(found.numbers[name], column)
    assert found.words == {"name": ["ann", None, "客户-七"], "bytes": [b"\0\xff", None, b""]}


async def test_rows_are_put_in_their_places(engine: AsyncEngine) -> None:
    """The rows are in order, whatever order PostgreSQL returned them in."""
    query = Gathering(
        {"small": ("int2", "r.small")},
        {"name": "r.name"},
        f"FROM (SELECT * {ROWS} ORDER BY n DESC) r",
        place="r.n",
    )
    found = await gathered(engine, query)
    assert found.numbers["small"].tolist() == [-1, 0, 32_767]
    assert found.words["name"] == ["ann", None, "客户-七"]
    assert found.numbers.keys() == {"small"}


async def test_empty_columns_keep_their_types(engine: AsyncEngine) -> None:
    """Empty columns keep their types."""
    query = Gathering(
        {"n": ("int8", "r.n"), "flag": ("bool", "r.flag")},
        {"name": "r.name"},
        f"{ROWS} WHERE r.n > $1",
        place="r.n",
    )
    found = await gathered(engine, query, 3)
    assert {name: (len(c), c.dtype) for name, c in found.numbers.items()} == {
        "n": (0, np.dtype(np.int64)),
        "flag": (0, np.dtype(np.bool_)),
    }
    assert found.words == {"name": []}


async def test_a_number_that_is_null_is_refused(engine: AsyncEngine) -> None:
    """Leaving it out would shift the other values."""
    query = Gathering({"n": ("int8", "nullif(r.n, 2)")}, {"name": "r.name"}, ROWS)
    with pytest.raises(AssertionError, match="NULL"):
        await gathered(engine, query)
