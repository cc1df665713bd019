"""Risk bands: a probability as one of four words, without flicker.

A band turns a number into something that a person acts on. This module never decides which
customers are warned about (policy) or what is published (`publication`).
"""

import numpy as np

from shared.kernel.arrays import Codes, Floats

NO_BAND = -1
"""The code of a customer who was never assessed."""

THRESHOLDS = (0.25, 0.5, 0.75)
"""Lower ends of watch, high and critical."""

HYSTERESIS = 0.05
"""How far below its lower end a band is kept. A silent day moves 99 of 100 customers of a
grocery panel by less than 0.02, so it takes an event, not an assessment, to go down again."""


def band_index(
    p: Floats,
    previous: Codes,
    thresholds: tuple[float, float, float] = THRESHOLDS,
    hysteresis: float = HYSTERESIS,
) -> Codes:
    """Return each probability's band as an index into `shared.contracts.risk.BANDS`, int8[n].

    A band is entered upwards at its threshold and left downwards only below threshold -
    hysteresis. `previous` is the band before, `NO_BAND` for none.

    Raises ValueError if a probability is NaN: a prospect has no band (`rhythm.assessable`).

    >>> band_index(np.array([0.48, 0.48, 0.44]), np.array([1, 2, 2], np.int8)).tolist()
    [1, 2, 1]
    """
    if np.isnan(p).any():
        raise ValueError("a probability is NaN: assess only customers with a purchase")
    entered = np.searchsorted(thresholds, p, side="right")
    kept = np.searchsorted(np.asarray(thresholds) - hysteresis, p, side="right")
    known = np.where(previous == NO_BAND, entered, previous)
    return np.clip(known, entered, kept).astype(np.int8)
