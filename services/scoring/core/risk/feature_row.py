"""Makes the feature rows that are published with assessments."""

from typing import Final

import numpy as np

from services.scoring.core.features.registry import feature_index
from shared.contracts.feature_row import LAPSE_PROBABILITY, NAMES, VERSION, FeatureRow
from shared.kernel.arrays import Floats

DIGITS: Final = 4
"""Significant digits: finer than any measurable effect, and a third of the bytes."""
PLACES_MAX: Final = 12
"""Most decimal places, for values near 0."""
_COLUMNS: Final = [feature_index[name] for name in NAMES[VERSION] if name != LAPSE_PROBABILITY]


def feature_rows(x: Floats, lapse: Floats) -> list[FeatureRow]:
    """Return the rows for features x float64[n, all] and lapse probabilities float64[n].

    NaN, not known, stays NaN: the encoder writes it as null.
    """
    values = _rounded(np.column_stack([x[:, _COLUMNS], lapse]))
    return [FeatureRow(VERSION, row) for row in values.tolist()]


def _rounded(values: Floats) -> Floats:
    """Return values to `DIGITS` significant digits; whole numbers stay whole."""
    size = np.log10(np.maximum(np.abs(values), 10.0**-PLACES_MAX))
    places = np.clip(DIGITS - 1 - np.floor(size), 0, PLACES_MAX)
    # Dividing a whole number by a power of ten gives the float with the shortest text.
    factor = 10.0**places
    rounded: Floats = np.rint(values * factor) / factor
    return rounded
