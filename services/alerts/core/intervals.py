"""Computes intervals for shares, for their difference, and for money. All are two-sided, 95 %."""

from collections.abc import Callable
from math import log, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from shared.kernel.arrays import Floats, Ints

Pick = Callable[[int, tuple[int, int]], Ints]
"""Evenly drawn whole numbers from 0 to below the first argument, in the shape of the second."""

ALPHA: Final = 0.05
Z: Final = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""
TARGET: Final = 1_000
"""Number of subjects for which the sequential interval is tuned to be narrowest."""
RESAMPLES: Final = 2_000
RESAMPLED_MAX: Final = 5_000
"""Most subjects of an arm for resampling money; above it the mean is normal enough."""


class Interval(NamedTuple):
    """Low and high end."""

    low: float
    high: float

    def without(self, value: float) -> bool:
        """Return whether `value` is outside of the interval."""
        return not self.low <= value <= self.high


def wilson(hits: int, n: int) -> Interval:
    """Return the interval of a share (Wilson 1927); (0, 1) where `n` is 0.

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share, extra = hits / n, Z * Z / n
    middle = share + extra / 2
    half = Z * sqrt(share * (1 - share) / n + extra / (4 * n))
    return Interval((middle - half) / (1 + extra), (middle + half) / (1 + extra))


def newcombe(hits: int, n: int, other_hits: int, other_n: int) -> Interval:
    """Return the interval of the difference of two shares (Newcombe 1998, method 10).

    The shares are independent; (-1, 1) where an arm is empty.

    >>> [round(x, 4) for x in newcombe(56, 70, 48, 80)]
    [0.0524, 0.3339]
    """
    if not n or not other_n:
        return Interval(-1.0, 1.0)
    a, b = hits / n, other_hits / other_n
    (a_low, a_high), (b_low, b_high) = wilson(hits, n), wilson(other_hits, other_n)
    return Interval(
        a - b - sqrt((a - a_low) ** 2 + (b_high - b) ** 2),
        a - b + sqrt((a_high - a) ** 2 + (b - b_low) ** 2),
    )


def anytime(hits: int, n: int, other_hits: int, other_n: int) -> Interval:
    """Return an interval of the difference of two shares, valid however often it is evaluated.

    An asymptotic confidence sequence for the average treatment effect (Waudby-Smith, Arbour,
    Sinha, Kennedy and Ramdas 2021, theorem 2.2) with the variance of the influence function,
    s1^2 / share1 + s0^2 / share0. For the variance, one hit and one miss are added to each arm, so
    that a share of 0 or 1 does not look certain. It is wider than `newcombe`: that is the price
    of repeated evaluation.
    """
    if not n or not other_n:
        return Interval(-1.0, 1.0)
    total = n + other_n
    variance = _variance(hits, n) * total / n + _variance(other_hits, other_n) * total / other_n
    rho2 = (-2 * log(ALPHA) + log(-2 * log(ALPHA) + 1)) / TARGET
    grown = total * rho2 + 1
    half = sqrt(variance * 2 * grown / (total * total * rho2) * log(sqrt(grown) / ALPHA))
    gap = hits / n - other_hits / other_n
    return Interval(max(-1.0, gap - half), min(1.0, gap + half))


def mean_difference(a: Floats, b: Floats, pick: Pick) -> Interval:
    """Return the interval of the difference of two mean amounts.

    Percentile bootstrap (Efron 1979), each arm resampled by itself; normal approximation where an
    arm has more than `RESAMPLED_MAX` subjects. (nan, nan) unless both arms have at least two.
    """
    if min(len(a), len(b)) < 2:  # noqa: PLR2004 (a mean of one has no width)
        return Interval(float("nan"), float("nan"))
    if max(len(a), len(b)) > RESAMPLED_MAX:
        half = Z * sqrt(float(a.var(ddof=1)) / len(a) + float(b.var(ddof=1)) / len(b))
        gap = float(a.mean() - b.mean())
        return Interval(gap - half, gap + half)
    gaps = _resampled(a, pick) - _resampled(b, pick)
    low, high = np.quantile(gaps, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(low), float(high))


def mean_interval(values: Floats, pick: Pick, alpha: float = ALPHA) -> Interval:
    """Return the two-sided interval of a mean that misses it with probability `alpha`.

    Percentile bootstrap (Efron 1979); normal approximation for more than `RESAMPLED_MAX` values.
    (nan, nan) with fewer than two.
    """
    if len(values) < 2:  # noqa: PLR2004 (a mean of one has no width)
        return Interval(float("nan"), float("nan"))
    if len(values) > RESAMPLED_MAX:
        half = NormalDist().inv_cdf(1 - alpha / 2) * sqrt(float(values.var(ddof=1)) / len(values))
        middle = float(values.mean())
        return Interval(middle - half, middle + half)
    low, high = np.quantile(_resampled(values, pick), [alpha / 2, 1 - alpha / 2])
    return Interval(float(low), float(high))


def _resampled(values: Floats, pick: Pick) -> Floats:
    """Return means of resamples, drawn a hundred at a time so that memory stays small."""
    means = [
        values[pick(len(values), (100, len(values)))].mean(axis=1) for _ in range(RESAMPLES // 100)
    ]
    return np.concatenate(means)


def _variance(hits: int, n: int) -> float:
    share = (hits + 1) / (n + 2)
    return share * (1 - share)
