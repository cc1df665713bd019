"""A distribution as 101 numbers: enough for any share in whole per cents, small enough to keep.

What it is for: ranks and cuts without the base at hand. NaN is left out of a grid and has no rank.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Grid = tuple[float, ...]

GRID: Final = 101
_SHARES: Final = np.linspace(0.0, 1.0, GRID)


def grid(values: Floats) -> Grid:
    """The 0, 1, ... 100 % quantiles (linear interpolation); zeros where nothing is known."""
    known = values[~np.isnan(values)]
    if not len(known):
        return (0.0,) * GRID
    return tuple(float(edge) for edge in np.quantile(known, _SHARES))


def rank(values: Floats, of: Sequence[float]) -> Floats:
    """Share of the base below each value, ties counted half; float64[n], 0-1, NaN stays.

    >>> rank(np.array([0.0, 50.0, 100.0]), tuple(range(101))).round(3).tolist()
    [0.005, 0.5, 0.995]
    """
    edges = np.asarray(of)
    below = np.searchsorted(edges, values, side="left")
    upto = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), np.nan, (below + upto) / (2 * len(edges)))


def cut(of: Sequence[float], share: float) -> float:
    """The value from which the best `share` of the base begins."""
    return float(np.interp(1.0 - share, _SHARES, np.asarray(of)))
