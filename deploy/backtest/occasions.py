"""Computes silences: the times between purchases, each with the customer's rhythm before it."""

from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np

from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.training.data.event_table import EventTable
from shared.kernel.arrays import Flags, Floats, Ints

SPENT_DAYS: Final = 91
"""Days of spending by which a lapse is weighted: the quarter before it."""
DAYS_APART: Final = 1_000_000
"""Distance between the days of two customers on one axis: more than any history has."""


@dataclass(frozen=True, slots=True)
class LapseRule:
    """When a silence counts as a lapse."""

    gaps: float = 4.0
    days_min: float = 28.0
    days_max: float = 180.0
    occasions_min: int = 5
    """Least number of occasions of an established customer."""
    gaps_kept: int = 12
    """The usual gap is the mean of at most so many gaps."""


LAPSE: Final = LapseRule()


@dataclass(frozen=True, slots=True)
class Silences:
    """Silences of established customers as columns, by customer and time. Days since 1970."""

    row: Ints
    """Index of the customer in the table."""
    start: Floats
    """The last purchase before the silence."""
    lasts: Floats
    """Days until the next purchase; +inf without one."""
    gap: Floats
    """Usual gap, days."""
    spent: Floats
    """Spending in the `SPENT_DAYS` up to the day of `start`."""
    length: Floats
    """Lapse length, days."""
    lapse: Flags
    decided: Flags
    """Whether the lapse length ends before the data do."""

    def __len__(self) -> int:
        """Number of silences."""
        return len(self.row)

    def select(self, which: Flags) -> Self:
        """Return the silences under a mask."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))


def silences(table: EventTable, rule: LapseRule = LAPSE) -> Silences:
    """Returns every silence of every established customer of a table."""
    row, day, first, last, amount = _occasions(table)
    n = len(row)
    at = np.arange(n)
    begins = np.searchsorted(row, row, side="left")
    before = at - begins
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = np.minimum(before, rule.gaps_kept)
        # The sum of successive gaps is the time from the first of their days to the last.
        gap = (day - day[at - kept]) / kept
        length = np.clip(rule.gaps * gap, rule.days_min, rule.days_max)
    lasts = np.full(n, np.inf)
    follows = np.flatnonzero(row[1:] == row[:-1])
    lasts[follows] = first[follows + 1] - last[follows]
    axis = row * DAYS_APART + day
    since = np.maximum(np.searchsorted(axis, axis - SPENT_DAYS, side="right"), begins)
    total = np.concatenate(([0.0], np.cumsum(amount)))
    ends = day.max(initial=0) + 1
    established = before >= rule.occasions_min - 1
    return Silences(
        row=row,
        start=last,
        lasts=lasts,
        gap=gap,
        spent=total[at + 1] - total[since],
        length=length,
        lapse=lasts >= length,
        decided=last + length <= ends,
    ).select(established)


def _occasions(table: EventTable) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """Returns row, day, first and last purchase (days) and amount of each day with purchases."""
    bought = table.events.kind == Kind.PURCHASE
    row, time = table.events.row[bought], table.events.time[bought] / DAY_S
    amount = np.maximum(np.nan_to_num(table.events.amount[bought]), 0.0)
    order = np.lexsort((time, row))
    row, time, amount = row[order], time[order], amount[order]
    day = np.floor(time).astype(np.int64)
    new = np.ones(len(row), np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (day[1:] != day[:-1])
    begins = np.flatnonzero(new)
    if not len(begins):
        return row, day, time, time, amount
    ends = np.concatenate((begins[1:], [len(row)])) - 1
    return row[begins], day[begins], time[begins], time[ends], np.add.reduceat(amount, begins)
