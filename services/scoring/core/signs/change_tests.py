"""Statistical tests of a customer's recent behaviour against the customer's own past.

Each test returns the chance of the observation if nothing had changed, as columns of n over X;
NaN where there is too little to compare. No other customer and no training is needed.
"""

from typing import Final

import numpy as np
from scipy.special import gammaincc, ndtr

from services.scoring.core.features.registry import column
from services.scoring.core.risk.reason_facts import LN2
from shared.kernel.arrays import Floats

GAPS_COMPARED: Final = 3
"""The newest gaps, compared with those before; two could come from one late purchase."""
GAPS_BEFORE_MIN: Final = 5
"""Earlier gaps needed to know a customer's usual gap and its spread: with the newest three, nine
purchase days."""
VARIATION_MIN: Final = 0.3
"""Least coefficient of variation (standard deviation / mean) of gaps: a short past can look more
regular than the future will be."""
INTERACTIONS_MIN: Final = 12.0
"""Interactions ever, below which there is no level to fall from."""
CLUMPING: Final = 1.5
"""Variance of interaction counts over their mean: one visit brings several interactions."""
ORDERS_MIN: Final = 8.0
"""Orders with an amount, below which the usual order is not known."""
ORDERS_RECENT_MIN: Final = 2.5
"""Effective recent orders needed for a fallen value: one small order is chance."""
ORDER_LIVES: Final = (7, 30, 90)
"""Half-lives, days, of the memories of order value: a week, a month, a season."""
PRICED_MIN: Final = 0.99
"""Share of purchases with an amount, below which a mean per purchase is no mean per order."""
SPREAD_MIN: Final = 0.2
"""Least spread of the log order value, for the reason of `VARIATION_MIN`."""
QUIET_DAYS_MAX: Final = 365.0
"""Days without an interaction after which the earlier level is no longer known."""
INTERACTION_LIFE: Final = 30.0
INTERACTION_LIFE_LONG: Final = 90.0
"""Half-lives, days, of two memories; their difference gives the earlier level."""


def gap_chance(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the chance of such long newest gaps, their typical length and that before, in days.

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
    # One pause is a silence, which has a sign of its own: the longest of the three counts no more
    # than the middle one.
    typical = np.minimum(newest, np.median(newest, axis=0)).sum(axis=0)
    total, squares = newest.sum(axis=0), (newest * newest).sum(axis=0)
    level = (mean * gaps - total) / count
    variance = (gaps * (spread * spread + mean * mean) - squares) / count - level * level
    variation = np.sqrt(np.maximum(variance, 0.0)) / level
    shape = 1.0 / np.maximum(variation, VARIATION_MIN) ** 2
    chance = gammaincc(GAPS_COMPARED * shape, typical * shape / level)
    return chance, typical / GAPS_COMPARED, level


def interaction_chance(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the chance of so few interactions, and interactions per day recently and before.

    The level before is what the long memory holds and the short one no longer does. Of two tests
    the less likely counts (doubled for testing twice): no interaction for t days,
    exp(-rate t) with the rate at the last interaction; and the short memory below its
    expectation, as a normal deviate. Counts are taken as `CLUMPING` times as variable as
    Poisson's. A decayed sum of a constant stream of c a day has mean c h / ln 2 and variance
    c h / (2 ln 2).
    """
    short, long = column(x, "interactions_decayed_30"), column(x, "interactions_decayed_90")
    quiet_days = np.minimum(column(x, "interaction_recency_days"), QUIET_DAYS_MAX)
    then = _rate(
        short * np.exp2(quiet_days / INTERACTION_LIFE),
        long * np.exp2(quiet_days / INTERACTION_LIFE_LONG),
    )
    known = (column(x, "interactions") >= INTERACTIONS_MIN) & (then > 0)
    then = np.where(known, then, np.nan)
    quiet = np.exp(-then * quiet_days / CLUMPING)
    rate = np.where(known, np.maximum(_rate(short, long), 0.0), np.nan)
    expected = rate * INTERACTION_LIFE / LN2
    deviate = (short - expected) / np.sqrt(CLUMPING * expected / 2.0)
    chance = np.minimum(2.0 * np.minimum(quiet, ndtr(deviate)), 1.0)
    # A memory of 30 days fades slowly: days without interactions also count by themselves, once
    # they exceed the usual wait.
    waited = np.maximum(quiet_days, CLUMPING / then)
    recent = np.minimum(short * LN2 / INTERACTION_LIFE, CLUMPING / waited)
    return chance, recent, then


def _rate(short: Floats, long: Floats) -> Floats:
    """Return interactions per day in what the long memory holds and the short one does not."""
    return (long - short) * LN2 / (INTERACTION_LIFE_LONG - INTERACTION_LIFE)


def order_value_chance(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the chance of so low a recent order value, the recent value and the usual mean.

    Orders are log-normal with the customer's own level and spread (Aitchison & Brown 1957). The
    mean over 2 D_h effective orders is compared with exp(mu + sigma^2 / 2), in logs, with the
    delta method's standard error sqrt((exp(sigma^2) - 1) / orders). Of the memories `ORDER_LIVES`
    the least likely counts, times their number (Bonferroni): a short one reacts fast where orders
    are many, a long one covers enough of them where they are few.
    """
    # A mean per purchase is a mean per order only where purchases carry amounts.
    priced = column(x, "spent") / column(x, "order_value") / column(x, "purchases")
    known = (column(x, "purchases") >= ORDERS_MIN) & (priced >= PRICED_MIN)
    spread = np.maximum(np.sqrt(column(x, "order_value_variance")), SPREAD_MIN)
    usual = column(x, "order_value_usual") * np.exp(spread * spread / 2.0)
    chances, levels = [], []
    for life in ORDER_LIVES:
        decayed = column(x, f"purchases_decayed_{life}")
        level = column(x, f"amount_decayed_{life}") / decayed
        enough = known & (2.0 * decayed >= ORDERS_RECENT_MIN) & (level > 0)
        error = np.sqrt(np.expm1(spread * spread) / (2.0 * decayed))
        chance = ndtr((np.log(level) - np.log(usual)) / error) * len(ORDER_LIVES)
        chances.append(np.where(enough, np.minimum(chance, 1.0), np.inf))
        levels.append(level)
    least = np.argmin(chances, axis=0)[None]
    chance = np.take_along_axis(np.stack(chances), least, axis=0)[0]
    recent = np.take_along_axis(np.stack(levels), least, axis=0)[0]
    some = np.isfinite(chance)
    return np.where(some, chance, np.nan), np.where(some, recent, np.nan), usual
