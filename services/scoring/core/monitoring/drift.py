"""Measures whether today's customers still resemble those that a model was trained on.

Each feature, and the score, has two measures with a minimum number of rows. A feature has drifted
when both agree: the shift is large (PSI) and not chance (KS). Drift does not show that a model is
wrong; only outcomes do.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import kolmogorov

from shared.kernel.arrays import Floats

PSI_MIN: Final = 0.25
"""From here on a shift counts as large (the usual scorecard thresholds: 0.1 and 0.25; Siddiqi
2006, Credit Risk Scorecards, ch. 10)."""
P_MAX: Final = 1e-3
"""Significance level of the two-sample test, over all features together (Bonferroni)."""
ROWS_MIN: Final = 500
"""Rows needed on either side: with fewer, ten equal bins differ by more than 0.1 by chance."""
BINS: Final = 10
SHARE_MIN: Final = 1e-4
"""An empty bin counts as this share: PSI would be infinite otherwise."""
SCORE: Final = "score"
"""The name under which the probability itself is compared."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of one feature, or of the score."""

    feature: str
    psi: float
    ks: float
    """Largest distance of the two distribution functions, 0-1."""
    p_value: float
    rows: int
    drifted: bool


def drift(name: str, reference: Floats, current: Floats, tests: int) -> Drift:
    """Compare one column, float64[n] with float64[m]; NaN is a value of its own.

    `tests`: the number of columns compared together.
    """
    distance, p = two_sample(reference, current)
    index = psi(reference, current)
    enough = min(len(reference), len(current)) >= ROWS_MIN
    return Drift(
        feature=name,
        psi=index,
        ks=distance,
        p_value=p,
        rows=len(current),
        drifted=enough and index >= PSI_MIN and p < P_MAX / max(1, tests),
    )


def psi(reference: Floats, current: Floats) -> float:
    """Return the population stability index over the reference's tenths; NaN is its own bin.

    sum((a - e) ln(a / e)). Ties make fewer, larger bins. 0 where either side is empty.
    """
    if not len(reference) or not len(current):
        return 0.0
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS)) if len(known) else known
    expected, actual = _shares(reference, edges), _shares(current, edges)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def two_sample(reference: Floats, current: Floats) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance and asymptotic p (Smirnov 1948); NaN sorts last."""
    n, m = len(reference), len(current)
    if n == 0 or m == 0:
        return 0.0, 1.0
    a = np.sort(np.nan_to_num(reference, nan=np.inf, posinf=np.inf))
    b = np.sort(np.nan_to_num(current, nan=np.inf, posinf=np.inf))
    at = np.concatenate([a, b])
    distance = np.abs(
        np.searchsorted(a, at, side="right") / n - np.searchsorted(b, at, side="right") / m
    ).max()
    # NaN sorts as infinity, where all mass is reached: its share shows in the step before.
    return float(distance), float(kolmogorov(distance * np.sqrt(n * m / (n + m))))


def _shares(values: Floats, edges: Floats) -> Floats:
    bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    counts = np.bincount(bins.astype(np.int64), minlength=len(edges) + 2)
    return np.maximum(counts / len(values), SHARE_MIN)
