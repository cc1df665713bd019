"""A distribution as 101 quantiles: enough for any share in whole per cent, small enough to store.

Ranks and cuts are computed from it without the base. NaN is left out of a grid and has no rank.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from shared.kernel.arrays import Floats

Grid = tuple[float, ...]

GRID: Final = 101
_SHARES: Final = np.linspace(0.0, 1.0, GRID)


def grid(values: Floats) -> Grid:
    """Return the 0, 1, ... 100 % quantiles (linear interpolation); zeros without known values."""
    known = values[~np.isnan(values)]
    if not len(known):
        return (0.0,) * GRID
    return tuple(float(edge) for edge in np.quantile(known, _SHARES))


def rank(values: Floats, of: Sequence[float]) -> Floats:
    """Return the share of the base below each value, ties counted half; float64[n], NaN stays.

    >>> rank(np.array([0.0, 50.0, 100.0]), tuple(range(101))).round(3).tolist()
    [0.005, 0.5, 0.995]
    """
    edges = np.asarray(of)
    below = np.searchsorted(edges, values, side="left")
    upto = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), np.nan, (below + upto) / (2 * len(edges)))


def cut(of: Sequence[float], share: float) -> float:
    """Return the value from which the best `share` of the base begins."""
    return float(np.interp(1.0 - share, _SHARES, np.asarray(of)))
