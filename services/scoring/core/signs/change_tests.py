"""Statistical tests of one customer's recent behaviour against the customer's own past.

Each gives the chance of what was seen if nothing had changed, as columns of n over X; NaN where
there is too little to compare. They need no other customer and no training.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, ndtr

from services.scoring.core.facts import LN2, column

Floats = NDArray[np.float64]

GAPS_COMPARED: Final = 3
"""The newest gaps, which are compared with those before: two could be one late purchase."""
GAPS_BEFORE_MIN: Final = 5
"""Gaps before them, below which a customer's usual gap and its spread are not known: with the
newest three, nine purchase days."""
VARIATION_MIN: Final = 0.3
"""Of the gaps, standard deviation / mean: nobody's future is as regular as a short past looked."""
INTERACTIONS_MIN: Final = 12.0
"""Interactions ever, below which there is no level to fall from."""
CLUMPING: Final = 1.5
"""Variance of interaction counts over their mean: several come with one visit."""
ORDERS_MIN: Final = 8.0
"""Orders with an amount, below which the usual order is not known."""
ORDERS_RECENT_MIN: Final = 3.0
"""Effective recent orders behind a fallen value: one small order is chance."""
SPREAD_MIN: Final = 0.2
"""Of the log order value, as `VARIATION_MIN`."""
INTERACTION_LIFE: Final = 30.0
INTERACTION_LIFE_LONG: Final = 90.0
"""Half-lives, days, of the two memories whose difference is the level before."""


def gap_chance(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Chance of newest gaps as long as these; their mean; the mean of the gaps before, days.

    Gaps are taken as gamma distributed with the customer's own mean and variation before the
    newest three: their sum then exceeds S with probability Q(3 / c^2, S / (m c^2)), Q the
    regularised upper incomplete gamma function (Abramowitz & Stegun 1964, 26.4).
    """
    newest = np.stack(
        [column(x, n) for n in ("gap_last_days", "gap_second_last_days", "gap_third_last_days")]
    )
    gaps = column(x, "purchase_days") - 1
    mean, spread = column(x, "gap_mean_days"), column(x, "gap_std_days")
    before = gaps - GAPS_COMPARED
    enough = before >= GAPS_BEFORE_MIN
    count = np.where(enough, before, np.nan)
    total, squares = newest.sum(axis=0), (newest * newest).sum(axis=0)
    level = (mean * gaps - total) / count
    variance = (gaps * (spread * spread + mean * mean) - squares) / count - level * level
    variation = np.sqrt(np.maximum(variance, 0.0)) / level
    shape = 1.0 / np.maximum(variation, VARIATION_MIN) ** 2
    chance = gammaincc(GAPS_COMPARED * shape, total * shape / level)
    return chance, total / GAPS_COMPARED, level


def interaction_chance(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Chance of so few interactions; interactions per day lately; and before.

    The level before is what the long memory holds and the short one no longer does. Two views,
    the less likely counts (doubled for having looked twice): no interaction since the last one,
    exp(-rate t); and the short memory below its expectation, as a normal deviate. Counts are
    taken as `CLUMPING` times as variable as Poisson's. A decayed sum of a constant stream of c a
    day has mean c h / ln 2 and variance c h / (2 ln 2).
    """
    short, long = column(x, "interactions_decayed_30"), column(x, "interactions_decayed_90")
    rate = (long - short) * LN2 / (INTERACTION_LIFE_LONG - INTERACTION_LIFE)
    known = (column(x, "interactions") >= INTERACTIONS_MIN) & (rate > 0)
    rate = np.where(known, rate, np.nan)
    quiet = np.exp(-rate * column(x, "interaction_recency_days") / CLUMPING)
    expected = rate * INTERACTION_LIFE / LN2
    deviate = (short - expected) / np.sqrt(CLUMPING * expected / 2.0)
    chance = np.minimum(2.0 * np.minimum(quiet, ndtr(deviate)), 1.0)
    # A memory of 30 days forgets slowly: who has not come since is counted by that silence too.
    recent = np.minimum(
        short * LN2 / INTERACTION_LIFE,
        CLUMPING / np.maximum(column(x, "interaction_recency_days"), 1.0),
    )
    return chance, recent, rate


def order_value_chance(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Chance of so low a recent order value; the recent value; and the usual one (mean).

    Orders are log-normal with the customer's own level and spread (Aitchison & Brown 1957); the
    recent mean over 2 D_30 effective orders is compared with exp(mu + sigma^2 / 2), in logs, with
    the delta method's standard error sqrt((exp(sigma^2) - 1) / orders).
    """
    orders = column(x, "purchases")
    recent_orders = 2.0 * column(x, "purchases_decayed_30")
    spread = np.maximum(np.sqrt(column(x, "order_value_variance")), SPREAD_MIN)
    usual = column(x, "order_value_usual") * np.exp(spread * spread / 2.0)
    recent = column(x, "order_value_30")
    known = (orders >= ORDERS_MIN) & (recent_orders >= ORDERS_RECENT_MIN) & (recent > 0)
    error = np.sqrt(np.expm1(spread * spread) / np.where(known, recent_orders, np.nan))
    deviate = (np.log(np.where(known, recent, np.nan)) - np.log(usual)) / error
    return ndtr(deviate), recent, usual
