"""The loyalty programme in a state: points, what expires, level changes and referrals.

Sums of points and their fading memories add up; a balance and what is about to expire are those of
the newest report, so that neither order nor batches matter. Only customers with loyalty events are
touched. This module never decides what is a sign of leaving.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features import memory
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.state import CELLS, POINTS_LIVES_DAYS, cell
from shared.kernel.arrays import Flags, Floats, Ints

States = NDArray[np.void]

_EARNED: Final = Kind.POINTS_EARNED - 1
_SPENT: Final = Kind.POINTS_SPENT - 1
_MOVED: Final = (_EARNED, _SPENT)
"""Their newest time is the time of `points_decayed`."""
_PER_S: Final = memory.decay_per_s(POINTS_LIVES_DAYS)
_REPORTS: Final = (("balance_time", "balance"), ("expiring_time", "expiring_until", "expiring"))
"""Fields of the newest report of each kind, the time first."""
SHORT, LONG = range(len(POINTS_LIVES_DAYS))
"""Columns of `points_decayed`."""


def merge_loyalty(into: States, a: States, b: States) -> None:
    """Set the programme of `into`, rows that have both histories; `last` is merged already."""
    into["points_decayed"] = faded_to(a, moved_at(into)) + faded_to(b, moved_at(into))
    for report in _REPORTS:
        newer, same = np.zeros(len(a), np.bool_), np.ones(len(a), np.bool_)
        for name in report:
            newer |= same & (b[name] > a[name])
            same &= b[name] == a[name]
        for name in report:
            into[name] = np.where(newer, b[name], a[name])


def faded_to(states: States, time: Floats) -> Floats:
    """Return `points_decayed` as of a later time; zeros where points never moved."""
    return memory.faded(states["points_decayed"], moved_at(states), time, _PER_S)


def fold_loyalty(states: States, folded: States, events: EventColumns) -> None:
    """Fold events about points into `folded`, which has their counts and times already.

    `states` are those before the events. `amount` holds the points, `cost` the balance and `until`
    the end of the last day on which expiring points can be spent.
    """
    cells = folded.view(np.float64)
    kind = events.kind.astype(np.int64) - 1
    known = ~np.isnan(events.amount)
    moved = np.flatnonzero(known & (kind <= Kind.POINTS_EXPIRED - 1))
    if len(moved):
        at = events.row[moved] * CELLS + cell("points") + kind[moved] - _EARNED
        np.add.at(cells, at, events.amount[moved])
    _fold_memories(states, folded, cells, events)
    reported = np.flatnonzero(~np.isnan(events.cost))
    if len(reported):
        _keep_newest(folded, events.row[reported], {
            "balance_time": events.time[reported], "balance": events.cost[reported],
        })  # fmt: skip
    expiring = np.flatnonzero((kind == Kind.POINTS_EXPIRING - 1) & known & ~np.isnan(events.until))
    if len(expiring):
        _keep_newest(folded, events.row[expiring], {
            "expiring_time": events.time[expiring],
            "expiring_until": events.until[expiring],
            "expiring": events.amount[expiring],
        })  # fmt: skip


def _fold_memories(states: States, folded: States, cells: Floats, events: EventColumns) -> None:
    """Add earned and spent points to memories that fade; they are of the newest such event."""
    kind = events.kind.astype(np.int64) - 1
    moved = np.flatnonzero(np.isin(kind, _MOVED))
    if not len(moved):
        return
    rows = np.unique(events.row[moved])
    now = moved_at(folded[rows])
    memory.bring(folded["points_decayed"], rows, moved_at(states[rows]), now, _PER_S)
    priced = moved[~np.isnan(events.amount[moved])]
    age = now[np.searchsorted(rows, events.row[priced])] - events.time[priced]
    weight = memory.weight(age, _PER_S) * events.amount[priced][:, None]
    start = cell("points_decayed") + (kind[priced] - _EARNED) * len(_PER_S)
    memory.add(cells, events.row[priced] * CELLS + start, weight)


def moved_at(states: States) -> Floats:
    """Return when points were last earned or spent, Unix seconds UTC; -inf where never."""
    return np.asarray(states["last"][:, _MOVED].max(axis=1, initial=-np.inf))


def _keep_newest(folded: States, rows: Ints, report: dict[str, Floats]) -> None:
    """Keep each customer's newest report: by its first column (the time), then by the others."""
    order = np.lexsort((*reversed(report.values()), rows))
    last = order[np.append(rows[order][1:] != rows[order][:-1], True)]
    touched = rows[last]
    newer, same = np.zeros(len(last), np.bool_), np.ones(len(last), np.bool_)
    for name, values in report.items():
        stored = folded[name][touched]
        newer |= same & (values[last] > stored)
        same &= values[last] == stored
    for name, values in report.items():
        folded[name][touched[newer]] = values[last[newer]]


def with_points(states: States) -> Flags:
    """bool[n]: the customer has had an event about points."""
    return np.asarray(states["counts"][:, _EARNED : Kind.POINTS_EXPIRING].any(axis=1))


def balance(states: States) -> Floats:
    """Return the points in the account, float64[n]: the newest balance reported.

    Where none was ever reported: earned less spent and expired points, at least 0; NaN where none
    were ever earned either.
    """
    earned, spent, expired = states["points"].T
    counted = np.where(earned > 0, np.maximum(earned - spent - expired, 0.0), np.nan)
    return np.where(np.isfinite(states["balance_time"]), states["balance"], counted)


def expiring(states: States, now: Floats) -> tuple[Floats, Floats]:
    """Return the points that expire, and the days until they do, float64[n] each.

    By the newest report, but at most the newest balance reported; 0 points once their day has
    passed. NaN points without a report, NaN days where no points expire.
    """
    reported = np.isfinite(states["expiring_time"])
    rest = states["expiring_until"] - now
    known = np.isfinite(states["balance_time"])
    least = np.minimum(np.maximum(states["balance"], 0.0), states["expiring"])
    held = np.where(known, least, states["expiring"])
    points = np.where(reported, np.where(rest > 0, held, 0.0), np.nan)
    return points, np.where(points > 0, rest / DAY_S, np.nan)


def memories(states: States, now: Floats) -> tuple[Floats, Floats]:
    """Return the fading sums of earned and of spent points at `now`, float64[n, 2] each."""
    age = np.maximum(now - moved_at(states), 0.0)
    fade = memory.weight(np.where(np.isfinite(age), age, 0.0), _PER_S)
    faded = states["points_decayed"] * fade[:, None, :]
    return faded[:, 0], faded[:, 1]
