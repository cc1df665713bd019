"""Reads the columns of a loyalty programme: points, balance, and the last day of expiring points.

They count on rows of loyalty events alone, so that a column of the same name in a file of orders is
neither misread nor a reason to refuse it.
"""

from dataclasses import replace
from typing import Final

import polars as pl

from shared.event_files.amounts import numbers
from shared.event_files.faults import Faults
from shared.event_files.headers import POINTS
from shared.event_files.options import Decimal
from shared.event_files.times import Reading, instants
from shared.event_files.words import LOYALTY

EXPIRE_ON: Final = "points_expire_on"
_TAKEN: Final = ("points_spent", "points_expired")
"""Ledgers write these with either sign."""


def with_points(
    brought: pl.DataFrame,
    raw: pl.DataFrame,
    row: pl.Series,
    style: tuple[Reading, Decimal | None],
    faults: Faults,
) -> pl.DataFrame:
    """Return the events with the columns `POINTS`, null on all rows but those of loyalty events.

    `style`: how the file's times and numbers are written. A date has no zone: it is the day that
    the programme means.
    """
    times, decimal = style
    loyal = brought["event_type"].is_in(LOYALTY)
    found = []
    for role in POINTS:
        kind = pl.Date if role == EXPIRE_ON else pl.Float64
        column = pl.Series(role, [None], dtype=kind).new_from_index(0, len(brought))
        if role in raw.columns:
            wanted = loyal & raw[role].is_not_null()
            some, at = raw[role].filter(wanted), row.filter(wanted)
            if role == EXPIRE_ON:
                days = replace(times, zone=None, now=None)
                read = instants(some, at, days, faults, role).dt.date()
            else:
                read = numbers(some, at, decimal, role, faults)
            column = column.scatter(wanted.arg_true(), read)
        found.append(column)
    taken = pl.col("event_type").is_in(_TAKEN)
    either = pl.when(taken).then(pl.col("points").abs()).otherwise("points")
    return brought.with_columns(found).with_columns(points=either)
