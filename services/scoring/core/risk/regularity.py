"""How regular purchases are: the k of Erlang-k (gamma) gaps, where random ones have k = 1.

A customer who buys on the first of every month has gaps that differ little; at random, gaps are
exponential and differ as much as they last. Who buys regularly is not expected back soon after a
purchase, and is late soon after the due day. k is 1 over the squared variation of the gaps. It is
never taken below 1: gaps in bursts are not modelled.

Sources: Wheat & Morrison (1990), "Estimating purchase regularity with two interpurchase times",
J. Marketing Research 27(1) 87-93; Platzer & Reutterer (2016), Marketing Science 35(5) 779-799.
"""

from typing import Final

import numpy as np

from services.scoring.core.features.registry import column
from shared.kernel.arrays import Floats

K_MIN: Final = 3.0
"""Least regularity of a base that is used. Below it customers differ in theirs, and a rate held
too firmly costs more than regularity gains: at 1.2 to 2.1 the prior was worse on every public
history (log loss by up to 0.039, on training windows)."""
K_MAX: Final = 30.0
"""Most regular: gaps that vary by 18 %. Beyond it a week more or less would be certainty, which
holidays and weekends refute."""
PAIR_DAYS_MIN: Final = 14.0
"""Least sum of two gaps to be compared: below it whole days alone make gaps look alike. For gamma
gaps the share of the first in the sum does not depend on the sum, so this selects nothing."""
PAIRS_MIN: Final = 100
"""Least customers with two gaps for a k of the base: its standard error is then about a fifth."""
OWN_GAPS_MIN: Final = 5
"""Least gaps of a customer for a k of their own: fewer look alike by chance."""
OWN_VARIATION_MAX: Final = 1 / 3
"""Most variation of a customer's gaps for a k of their own. Of 5 to 20 random gaps less varies one
in a hundred times or more seldom; taking every customer's k at its word made the rule worse on
every public history."""
OWN_K_MAX: Final = 8.0
"""Most regular that the rule takes one customer for: gaps that vary by 35 %. A weekly buyer who
skips a week must not look gone the next day."""
PRIOR_GAPS: Final = 0.5
"""Random gaps that a customer's own are held towards."""


def of_base(x: Floats) -> float:
    """Return k of the customers of X, float64[n, F]: `of_pairs` of the last two gaps of each.

    1 where too few customers have two gaps, or where it is less than `K_MIN`.
    """
    first, second = (
        column(x, "gap_second_last_days"),
        column(x, "gap_last_days"),
    )
    with np.errstate(invalid="ignore"):  # NaN without such a gap
        long = first + second >= PAIR_DAYS_MIN
    if int(long.sum()) < PAIRS_MIN:
        return 1.0
    k = min(of_pairs(first[long], second[long]), K_MAX)
    return k if k >= K_MIN else 1.0


def of_pairs(first: Floats, second: Floats) -> float:
    """Return k from two gaps of each customer, by Wheat & Morrison.

    The share of the one in both has variance 1 / (4 (2 k + 1)) around a half.
    """
    share = first / (first + second)
    spread = max(float(np.mean((share - 0.5) ** 2)), np.finfo(float).tiny)
    return (1.0 / (4.0 * spread) - 1.0) / 2.0


def of_customers(x: Floats) -> Floats:
    """Return k of each customer of X by their own gaps alone, float64[n]; mostly 1.

    1 over the squared variation, held towards random gaps by `PRIOR_GAPS` of them, of customers
    with at least `OWN_GAPS_MIN` gaps that hardly vary.
    """
    gaps = column(x, "purchase_days") - 1.0
    variation = column(x, "gap_variation")
    with np.errstate(invalid="ignore"):  # NaN without gaps
        own = (gaps >= OWN_GAPS_MIN) & (variation <= OWN_VARIATION_MAX)
    k = np.ones(len(x))
    n = gaps[own]
    square = (PRIOR_GAPS + n * variation[own] ** 2) / (PRIOR_GAPS + n - 1.0)
    k[own] = np.clip(1.0 / square, 1.0, OWN_K_MAX)
    return k
