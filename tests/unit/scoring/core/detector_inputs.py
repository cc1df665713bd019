"""Inputs of the detectors of signs, for tests: rows of X with everything that goes with them."""

import numpy as np

from services.scoring.core.risk.lapse import LapseClock, silences_of
from services.scoring.core.signs.detectors import CODES, Seen, codes_of, detect
from shared.contracts.risk import Sign
from shared.kernel.arrays import Floats

NONE = -1
"""Stands for an unknown grade or lifecycle state."""


def seen(
    x: Floats,
    probability: float = 0.5,
    grade: int = NONE,
    lifecycle: int = NONE,
    *,
    unheard: bool = False,
    now: float = 0.0,
) -> Seen:
    """Return these rows by the default clock, with these lapse probabilities, grades and states.

    `unheard`: their source has stopped delivering. `now`: Unix seconds UTC.
    """
    n = len(x)
    return Seen(
        x,
        silences_of(x, LapseClock()),
        np.full(n, probability),
        np.full(n, grade, np.int8),
        np.full(n, lifecycle, np.int8),
        np.full(n, unheard),
        np.full(n, now),
    )


def bits(*codes: str) -> int:
    """Return the bits of these signs."""
    return sum(1 << CODES.index(code) for code in codes)


def holding(look: Seen, *before: str) -> list[list[str]]:
    """Return the codes that hold for each row; `before`: those that held at the last assessment."""
    held = np.full(len(look.x), bits(*before), np.int16)
    return [codes_of(one) for one in detect(look, held).bits.tolist()]


def signs(look: Seen, *before: str) -> list[Sign]:
    """Return the signs of the first row, as they are published."""
    return detect(look, np.full(len(look.x), bits(*before), np.int16)).of(0)
