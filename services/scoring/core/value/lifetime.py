"""Lifetime value: expected purchases times expected value of a purchase, over a stated horizon.

What it is for: putting BG/NBD or MBG/NBD and Gamma-Gamma together (Fader, Hardie & Lee 2005).
Not discounted: over a year that is less than the models err. It never decides a tier.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.registry import feature_index
from services.scoring.core.risk import btyd
from services.scoring.core.value.money import money
from services.scoring.core.value.spend import Spend, expected_spend

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Columns float64[n]; NaN for prospects."""

    alive: Floats
    """P(will buy again, ever)."""
    purchases: Floats
    """Purchase days expected within the horizon."""
    value: Floats
    """Money expected within it, reporting currency; NaN too where no amounts are known."""


def history(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Repeat purchase days, days to the newest of them, and age in days: the BTYD columns."""
    repeats = np.maximum(x[:, feature_index["purchase_days"]] - 1, 0.0)
    span = np.nan_to_num(x[:, feature_index["gap_mean_days"]]) * repeats
    return repeats, span, span + x[:, feature_index["recency_days"]]


def lifetime(
    x: Floats, buying: btyd.Parameters, spend: Spend | None, horizon_days: float
) -> Lifetime:
    """P(alive), purchases and value over the horizon, of X float64[n, F]."""
    columns = history(x)
    known = ~np.isnan(columns[2])
    alive, purchases, value = np.full((3, len(x)), np.nan)
    repeats, span, age = (column[known] for column in columns)
    alive[known] = btyd.alive_probability(buying, repeats, span, age)
    purchases[known] = btyd.expected_purchases(buying, repeats, span, age, horizon_days)
    if spend is not None:
        cash = money(x[known])
        worth = expected_spend(spend, cash.occasions, cash.mean)
        value[known] = np.where(cash.priced > 0, purchases[known] * worth, np.nan)
    return Lifetime(alive, purchases, value)
