"""The numbers of a risk message that are neither features nor the model's: value and dates.

This module decides nothing: `publication` decides what is published, the policy which customers
are warned about.
"""

import math
from typing import Final

import numpy as np

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import column
from shared.kernel.arrays import Floats

VALUE_HALF_LIFE_DAYS: Final = 90
"""Half-life of the memory from which spending is projected: a season."""

TENURE_DAYS_MIN: Final = 28.0
"""A shorter history counts as this long: one basket on the first day is no rate."""

FADED_MAX: Final = 60.0
"""Half-lives of silence (15 years) after which a faded amount is not restored any further."""


def expected_value(x: Floats, horizon_days: float, amount_most: float = math.inf) -> Floats:
    """Return the money expected within the horizon had the customer stayed, float64[n].

    In reporting currency. Projects the decayed spending rate as it was at the last purchase, so
    that a silence does not make a customer worth less: a customer who spends c a day has a decayed
    sum of c * tau * (1 - exp(-tenure / tau)), tau = half-life / ln 2. 0 where there are no amounts.
    A mean order above `amount_most` counts as that, so that a mistyped amount heads no queue.
    """
    silence = np.nan_to_num(column(x, "recency_days"))
    faded = np.nan_to_num(column(x, f"amount_decayed_{VALUE_HALF_LIFE_DAYS}"))
    amount = faded * np.exp2(np.minimum(silence / VALUE_HALF_LIFE_DAYS, FADED_MAX))
    tenure = np.nan_to_num(column(x, "tenure_days")) - silence
    tenure = np.maximum(tenure, TENURE_DAYS_MIN)
    tau = VALUE_HALF_LIFE_DAYS / math.log(2)
    per_day = amount / (tau * -np.expm1(-tenure / tau))
    order = np.nan_to_num(column(x, "order_value_365"))
    share = amount_most / np.maximum(order, amount_most) if math.isfinite(amount_most) else 1.0
    return np.asarray(per_day * horizon_days * share)


def last_purchase(x: Floats, now: Floats) -> Floats:
    """Return when the customer last bought, float64[n], Unix seconds UTC; NaN for prospects."""
    return np.asarray(now - column(x, "recency_days") * DAY_S)
