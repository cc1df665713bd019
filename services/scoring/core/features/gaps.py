"""The rhythm of purchases: statistics of the gaps between purchase days, per customer.

They are computed from the unpacked bitmap without a loop over customers. Days are the only input;
a customer without gaps gets NaN.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.kernel.arrays import Floats, Ints

_GAP_BITS: Final = 12
"""A gap is below 2,560 days, hence below 2^12."""
_GAP_MASK: Final = (1 << _GAP_BITS) - 1
RECENT_GAPS: Final = 12
"""Newest gaps averaged as today's usual gap: for a fortnightly buyer about half a year."""
SEASON_TOLERANCE_DAYS: Final = 28
"""Greatest distance from the same day a year ago of a silence's start to count as seasonal."""
_ROWS_NARROW: Final = 1 << (31 - _GAP_BITS)
"""Up to this many rows, (row, gap) fits an int32."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Per-customer columns, each of length n; days, NaN where not defined."""

    mean: Floats
    median: Floats
    std: Floats
    longest: Floats
    recent: Floats
    """Mean of the last `RECENT_GAPS` gaps, or of as many as there are."""
    season: Floats
    """Longest gap that began within `SEASON_TOLERANCE_DAYS` of a year before the newest day."""
    newest: Floats
    """float64[n, 3]: the last gap, the one before, the one before that."""
    outlasting: Floats
    """Count of own gaps at least as long as the silence (0 without gaps)."""
    return_share: Floats
    """Share of `outlasting` that ended within the horizon; NaN where there is none."""


def gap_statistics(
    n: int, row: Ints, day: Ints, silence: Ints, horizon_days: int, year_days: int
) -> Gaps:
    """Compute statistics of the gaps between consecutive days of each row.

    `row`, `day` int64[k]: purchase days sorted by (row, day), distinct within a row.
    `silence` int64[n]: whole days since the newest purchase day, >= 0.
    """
    same = row[1:] == row[:-1]
    gap_row = row[1:][same]
    gap = (day[1:] - day[:-1])[same]
    count = np.bincount(gap_row, minlength=n)
    end = np.cumsum(count)
    start = end - count
    has = count > 0

    total = np.bincount(gap_row, weights=gap, minlength=n)
    squares = np.bincount(gap_row, weights=gap * gap, minlength=n)
    divisor = np.where(has, count, np.nan)
    # Sums of whole days are exact in float64, so the difference loses no digits.
    std = np.sqrt(squares * count - total * total) / divisor

    # 0: shorter than the silence; 1: outlasts it and ends within the horizon; 2: ends later.
    silent = silence[gap_row]
    ending = (gap >= silent).astype(np.int64) + (gap >= silent + horizon_days)
    endings = np.bincount(gap_row * 3 + ending, minlength=3 * n).reshape(n, 3)
    outlasting = (endings[:, 1] + endings[:, 2]).astype(np.float64)

    # One sort orders the gaps within every row; int32 keys take half as long as int64.
    keys = (gap_row << _GAP_BITS) | gap
    keys = np.sort(keys.astype(np.int32) if n <= _ROWS_NARROW else keys)
    # The NaN at the end is "no such gap".
    ordered = np.append(keys & _GAP_MASK, np.nan)
    in_time = np.append(gap, np.nan)

    def at(index: Ints, needs: int = 1) -> Ints:
        return np.where(count >= needs, index, len(gap))

    # The sum of the last gaps is a difference of cumulative sums: a row's gaps are in time order.
    recent = np.minimum(count, RECENT_GAPS)
    total_of = np.concatenate([[0], np.cumsum(gap)])
    recent_mean = (total_of[end] - total_of[end - recent]) / np.where(has, recent, np.nan)

    lower, upper = ordered[at(start + (count - 1) // 2)], ordered[at(start + count // 2)]
    return Gaps(
        mean=total / divisor,
        median=(lower + upper) / 2,
        std=std,
        longest=ordered[at(end - 1)],
        recent=recent_mean,
        season=_season(n, gap_row, gap, day[:-1][same], day[1:][same], year_days),
        newest=np.stack([in_time[at(end - back, back)] for back in (1, 2, 3)], axis=1),
        outlasting=outlasting,
        return_share=endings[:, 1] / np.where(outlasting > 0, outlasting, np.nan),
    )


def _season(n: int, gap_row: Ints, gap: Ints, start: Ints, end: Ints, year_days: int) -> Floats:
    """Return each row's longest gap that began about a year before its newest day, or NaN."""
    newest = np.zeros(n, np.int64)
    newest[gap_row] = end  # repeated indices: the last assignment wins, which is the newest day
    near = np.abs(start - (newest[gap_row] - year_days)) <= SEASON_TOLERANCE_DAYS
    found = np.full(n, np.nan)
    np.fmax.at(found, gap_row[near], gap[near].astype(np.float64))
    return found
