"""The numbers of a risk message that are neither features nor the model's: value, dates.

Never decides anything: what is published is `material`'s matter, who is warned the policy's.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import feature_index

Floats = NDArray[np.float64]

VALUE_HALF_LIFE_DAYS: Final = 90
"""The memory from which spending is projected: a season."""

TENURE_DAYS_MIN: Final = 28.0
"""A shorter history is read as if it were so long: one basket on the first day is no rate."""

FADED_MAX: Final = 60.0
"""Half-lives of silence (15 years) after which what has faded is not restored: it is nothing."""


def expected_value(x: Floats, horizon_days: float, amount_most: float = math.inf) -> Floats:
    """Money expected within the horizon had the customer stayed, float64[n], reporting currency.

    Projects the decayed spending rate as it was at the last purchase, so that a silence does not
    make a customer worth less: who spends c a day has a decayed sum of
    c * tau * (1 - exp(-tenure / tau)), tau = half-life / ln 2. 0 where there are no amounts.
    A mean order above `amount_most` counts as that: a mistyped amount heads no queue.
    """
    silence = np.nan_to_num(x[:, feature_index["recency_days"]])
    faded = np.nan_to_num(x[:, feature_index[f"amount_decayed_{VALUE_HALF_LIFE_DAYS}"]])
    amount = faded * np.exp2(np.minimum(silence / VALUE_HALF_LIFE_DAYS, FADED_MAX))
    tenure = np.nan_to_num(x[:, feature_index["tenure_days"]]) - silence
    tenure = np.maximum(tenure, TENURE_DAYS_MIN)
    tau = VALUE_HALF_LIFE_DAYS / math.log(2)
    per_day = amount / (tau * -np.expm1(-tenure / tau))
    order = np.nan_to_num(x[:, feature_index["order_value_365"]])
    share = amount_most / np.maximum(order, amount_most) if math.isfinite(amount_most) else 1.0
    return np.asarray(per_day * horizon_days * share)


def last_purchase(x: Floats, now: Floats) -> Floats:
    """When the customer last bought, float64[n], Unix seconds UTC; NaN for prospects."""
    return np.asarray(now - x[:, feature_index["recency_days"]] * DAY_S)
