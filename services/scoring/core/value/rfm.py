"""RFM: quintile scores of recency, frequency and monetary value, and the usual named cells.

Marketing knows this overview (Hughes 1994, "Strategic Database Marketing"). This module never fits
or forecasts.

Scores are 1-5, 5 is best. Edges are the 20/40/60/80 % quantiles of the living base; a value that
equals an edge belongs below it, so that equal customers always have equal scores.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.kernel.arrays import Floats

Scores = NDArray[np.int8]

SCORES: Final = 5
UNSCORED: Final = 0
"""The score of a customer without a purchase."""
COMBINATIONS: Final = (SCORES + 1) ** 3
"""Combinations of three scores, missing ones included: each is computed once."""

CELLS: Final = (
    "hibernating",
    "at_risk",
    "cannot_lose",
    "about_to_sleep",
    "need_attention",
    "loyal",
    "promising",
    "potential_loyalist",
    "new_customers",
    "champions",
)
_GRID: Final = np.array(
    [  # rows: recency 1-5, columns: frequency 1-5, as indices into CELLS
        [0, 0, 1, 1, 2],
        [0, 0, 1, 1, 2],
        [3, 3, 4, 5, 5],
        [6, 7, 7, 5, 5],
        [8, 7, 7, 9, 9],
    ],
    np.int8,
)
"""The grid in common use, by recency and frequency; every combination has a name."""
NO_CELL: Final = -1


def ascending(values: Floats, at: Sequence[float]) -> Scores:
    """Score 1 up to the lowest edge ... 5 above the highest, int8[n]; `UNSCORED` where NaN.

    >>> ascending(np.array([1.0, 2.0, 2.1, 99.0, np.nan]), (2.0, 3.0, 4.0, 5.0)).tolist()
    [1, 1, 2, 5, 0]
    """
    scores = 1 + np.searchsorted(np.asarray(at), values, side="left")
    return np.where(np.isnan(values), UNSCORED, scores).astype(np.int8)


def descending(values: Floats, at: Sequence[float]) -> Scores:
    """Score as `ascending` does, but less is better (recency)."""
    scores = SCORES - np.searchsorted(np.asarray(at), values, side="left")
    return np.where(np.isnan(values), UNSCORED, scores).astype(np.int8)


@lru_cache(COMBINATIONS)
def digits(recency: int, frequency: int, monetary: int) -> str | None:
    """Return the three scores as they are published, recency first; None where one is missing.

    >>> digits(5, 1, 3), digits(5, 0, 3)
    ('513', None)
    """
    scores = recency, frequency, monetary
    return "".join(map(str, scores)) if all(scores) else None


def cell(recency: Scores, frequency: Scores) -> Scores:
    """Return the index into `CELLS`, int8[n]; `NO_CELL` where a score is missing."""
    known = (recency > UNSCORED) & (frequency > UNSCORED)
    found = _GRID[np.maximum(recency, 1) - 1, np.maximum(frequency, 1) - 1]
    return np.where(known, found, NO_CELL).astype(np.int8)
