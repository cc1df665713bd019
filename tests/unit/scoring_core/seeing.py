"""What the detectors of signs look at, for tests: rows of X with all that stands beside them."""

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.risk.lapse import LapseClock, lapses
from services.scoring.core.signs.detectors import CODES, Seen, codes_of, detect
from shared.contracts.risk import Sign

Floats = NDArray[np.float64]
NONE = -1
"""Neither grade nor lifecycle state is known."""


def seen(
    x: Floats,
    probability: float = 0.5,
    grade: int = NONE,
    lifecycle: int = NONE,
    *,
    unheard: bool = False,
) -> Seen:
    """These rows by the default clock, each with this lapse probability, grade and state.

    `unheard`: their source has stopped delivering.
    """
    n = len(x)
    return Seen(
        x,
        lapses(x, LapseClock()),
        np.full(n, probability),
        np.full(n, grade, np.int8),
        np.full(n, lifecycle, np.int8),
        np.full(n, unheard),
    )


def bits(*codes: str) -> int:
    """The bits of these signs."""
    return sum(1 << CODES.index(code) for code in codes)


def holding(look: Seen, *before: str) -> list[list[str]]:
    """The codes that hold of each row; `before`: those that held at the last look."""
    held = np.full(len(look.x), bits(*before), np.int16)
    return [codes_of(one) for one in detect(look, held).bits.tolist()]


def signs(look: Seen, *before: str) -> list[Sign]:
    """Of the first row, as they are published."""
    return detect(look, np.full(len(look.x), bits(*before), np.int16)).of(0)
