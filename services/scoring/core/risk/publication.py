"""Which assessments are worth telling anybody, and which are worth storing.

What it is for: the risk topic carries changes, not noise, and a look that finds what is stored
already writes nothing but the next look's time. It never decides who is warned.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.bands import NO_BAND

MOVE_MIN: Final = 0.1
"""Least change of probability since the last publication that is news by itself."""
HEARTBEAT_DAYS: Final = 28.0
"""Of those who are not ebbing: a sign that they are still looked at. The topic is compacted, so
a reader who starts afresh has every customer's newest assessment without it."""
SAME_MAX: Final = 0.01
"""A look at somebody of whom nothing was heard leaves the current assessment in place while the
probability stays this close to it: nobody who reads it would see or do anything else."""


@dataclass(frozen=True, slots=True)
class AssessmentColumns:
    """Assessments as columns of length n, new or as last published."""

    at: NDArray[np.float64]
    """Business time, Unix seconds UTC; anything where never published."""
    probability: NDArray[np.float64]
    band: NDArray[np.int8]
    """Index of `BANDS`; `NO_BAND` where never published."""
    signs: NDArray[np.int16]
    """Signs of leaving, as bits of `signs.detectors.CODES`."""


def is_material(
    new: AssessmentColumns, published: AssessmentColumns, heartbeat_days: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """bool[n]: the new assessment differs enough from the one last published.

    Never published; another band; probability moved by `MOVE_MIN` or more; a sign that began or
    ended; or the heartbeat, float64[n] in days, is due.
    """
    due = heartbeat_days * DAY_S
    # The published number may have travelled as text: a move of exactly the least counts.
    moved = np.abs(new.probability - published.probability) >= MOVE_MIN - 1e-9
    return np.asarray(
        (published.band == NO_BAND)
        | (new.band != published.band)
        | moved
        | (new.signs != published.signs)
        | (new.at - published.at >= due)
    )


def is_same(probability: NDArray[np.float64], stored: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[n]: `stored` still says it; NaN, where nothing is stored, never does."""
    return np.asarray(np.abs(probability - stored) < SAME_MAX)
