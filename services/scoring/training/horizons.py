"""Several horizons at once: not only whether a customer stays away, but for how long.

What it is for: the same cutoffs asked with other horizons, made coherent. Whoever buys nothing for
60 days buys nothing for 30, so the probability never rises with the horizon. The main horizon's
numbers are never touched.
"""

from collections.abc import Mapping

import numpy as np

from services.scoring.training.panel import Floats


def coherent(by_horizon: Mapping[int, Floats], main: int) -> dict[int, Floats]:
    """Horizon in days -> probability of silence over it, never rising with the horizon.

    All columns are of the same customers. Longer horizons than `main` are held below the next
    shorter one, shorter ones above the next longer one.
    """
    found = {main: by_horizon[main]}
    edge = by_horizon[main]
    for days in sorted(days for days in by_horizon if days > main):
        edge = found[days] = np.minimum(edge, by_horizon[days])
    edge = by_horizon[main]
    for days in sorted((days for days in by_horizon if days < main), reverse=True):
        edge = found[days] = np.maximum(edge, by_horizon[days])
    return dict(sorted(found.items()))
