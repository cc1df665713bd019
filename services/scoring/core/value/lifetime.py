"""Lifetime value: expected purchases times expected value of a purchase, over a stated horizon.

It combines BG/NBD or MBG/NBD with Gamma-Gamma (Fader, Hardie & Lee 2005). It is not discounted:
over a year, discounting is less than the models' error. This module never decides a tier.
"""

from dataclasses import dataclass

import numpy as np

from services.scoring.core.risk import btyd
from services.scoring.core.risk.rhythm import history
from services.scoring.core.value.money import money
from services.scoring.core.value.spend import Spend, expected_spend
from shared.kernel.arrays import Floats


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Columns float64[n]; NaN for prospects."""

    alive: Floats
    """P(will buy again, ever)."""
    purchases: Floats
    """Purchase days expected within the horizon."""
    value: Floats
    """Money expected within the horizon, reporting currency; also NaN without known amounts."""


def lifetime(
    x: Floats, buying: btyd.Parameters, spend: Spend | None, horizon_days: float
) -> Lifetime:
    """Return P(alive), purchases and value over the horizon, for X float64[n, F]."""
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
