"""Decides which assessments are published, and which are stored.

The risk topic carries changes, not noise, and an assessment that agrees with the stored one writes
only the next assessment's time. This module never decides which customers are warned about.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.bands import NO_BAND
from shared.kernel.arrays import Codes, Flags, Floats

MOVE_MIN: Final = 0.1
"""Least change of probability since the last publication that is published by itself."""
HEARTBEAT_DAYS: Final = 28.0
"""Interval for customers who are not ebbing; it shows that they are still assessed. The topic is
compacted, so a new reader gets every customer's newest assessment without it."""
GONE: Final = 1 << 14
"""Bit beside those of the signs: the silence has reached the lapse length. Signs have at most 14
bits, and the stored number has 16 with its sign."""
SAME_MAX: Final = 0.01
"""Without new events, an assessment leaves the current one in place while the probability stays
this close to it: a reader would not see or do anything else."""


@dataclass(frozen=True, slots=True)
class AssessmentColumns:
    """Assessments as columns of length n, new or as last published."""

    at: Floats
    """Business time, Unix seconds UTC; arbitrary where never published."""
    probability: Floats
    band: Codes
    """Index of `BANDS`; `NO_BAND` where never published."""
    signs: NDArray[np.int16]
    """Signs of leaving, as bits of `signs.detectors.CODES`, and `GONE`."""


def published_bits(signs: NDArray[np.int16], gone: Flags) -> NDArray[np.int16]:
    """Return an assessment's bits, int16[n]: its signs, and `GONE` where the customer is gone."""
    return np.where(gone, signs | GONE, signs).astype(np.int16)


def is_material(
    new: AssessmentColumns, published: AssessmentColumns, heartbeat_days: Floats
) -> Flags:
    """bool[n]: the new assessment differs enough from the one last published.

    That is: never published; another band; probability moved by `MOVE_MIN` or more; a sign began
    or ended; the silence reached the lapse length, or fell below it by a purchase that arrived
    late; or the heartbeat, float64[n] in days, is due.
    """
    due = heartbeat_days * DAY_S
    # The published number may have been converted to text: a move of exactly `MOVE_MIN` counts.
    moved = np.abs(new.probability - published.probability) >= MOVE_MIN - 1e-9
    return np.asarray(
        (published.band == NO_BAND)
        | (new.band != published.band)
        | moved
        | (new.signs != published.signs)
        | (new.at - published.at >= due)
    )


def is_same(probability: Floats, stored: Floats) -> Flags:
    """bool[n]: `stored` is still close enough; False where nothing is stored (NaN)."""
    return np.asarray(np.abs(probability - stored) < SAME_MAX)
