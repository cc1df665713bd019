"""Small customers with known features, as rows of X."""

import numpy as np

from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S, EventColumns
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import FEATURES, feature_index
from services.scoring.core.features.state import empty
from shared.kernel.arrays import Floats


def seen_at(day: float, events: EventColumns) -> Floats:
    """Return X of the events' customers at a day since 1970 (0.5 is noon)."""
    n = int(events.row.max()) + 1
    return features(fold(empty(n), events), np.full(n, day * DAY_S))


def rows(**given: float | list[float] | Floats) -> Floats:
    """Return X with the features given, NaN elsewhere; lists give several customers."""
    values = np.broadcast_arrays(*(np.atleast_1d(value) for value in given.values()))
    x = np.full((len(values[0]), len(FEATURES)), np.nan)
    for name, column in zip(given, values, strict=True):
        x[:, feature_index[name]] = column
    return x
