"""Measures of ranking and calibration of probabilities, with weighted rows.

Training, the promotion gate and model monitoring share one ROC-AUC, log loss, calibration error,
recall and lift. The positive class is silence (no purchase within the horizon). Every function
takes `silent`: bool[n], `p`: float64[n] and `weight`: float64[n], 1 each by default, and none
depends on the order of the rows. This module never chooses rows and never reads a label that has
not matured.
"""

from typing import Final

import numpy as np

from shared.kernel.arrays import Flags, Floats

PROBABILITY_MIN: Final = 1e-7
"""Log loss clips here, so that one certain mistake costs 16 instead of infinity."""
BINS: Final = 10
"""Bins of equal weight for the calibration error; a group of 200 rows then keeps 20 in each."""
BUDGET_SHARE: Final = 0.10
"""Share of customers that an owner can attend to: the top decile, as in the churn literature."""


class Ranking:
    """Probabilities sorted once, so that each weighting of the rows costs one pass."""

    def __init__(self, silent: Flags, p: Floats) -> None:
        self._order = np.argsort(p, kind="stable")
        ranked = p[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        self._silent = silent[self._order]

    def auc(self, weight: Floats) -> float:
        """Return the weighted ROC-AUC, ties count half; NaN unless both labels have weight."""
        if not len(weight):
            return float("nan")
        w = weight[self._order]
        silent = np.add.reduceat(np.where(self._silent, w, 0.0), self._starts)
        buying = np.add.reduceat(np.where(self._silent, 0.0, w), self._starts)
        below = np.cumsum(buying) - buying / 2.0
        total = silent.sum() * buying.sum()
        return float(silent @ below / total) if total > 0 else float("nan")

    def recall(self, weight: Floats, share: float = BUDGET_SHARE) -> float:
        """Return the share of the silent that are among the top `share` by probability.

        Rows tied at the edge enter in proportion, as if drawn at random. At least one row is taken.
        NaN where no silent row has weight.
        """
        if not len(weight):
            return float("nan")
        w = weight[self._order]
        sizes = np.add.reduceat(w, self._starts)[::-1]
        hits = np.add.reduceat(np.where(self._silent, w, 0.0), self._starts)[::-1]
        if not hits.sum() > 0:
            return float("nan")
        taken = np.clip(taken_rows(w, share) - (np.cumsum(sizes) - sizes), 0.0, sizes)
        part = np.divide(taken, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        return float(hits @ part / hits.sum())


def roc_auc(silent: Flags, p: Floats, weight: Floats | None = None) -> float:
    """Return the probability that a silent customer ranks above a buying one; ties count half.

    Mann & Whitney (1947). NaN unless both classes have weight.
    """
    return Ranking(silent, p).auc(_weights(p, weight))


def row_loss(silent: Flags, p: Floats) -> Floats:
    """Return the log loss of each row in nats."""
    q = np.clip(p, PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)
    return -np.where(silent, np.log(q), np.log1p(-q))


def log_loss(silent: Flags, p: Floats, weight: Floats | None = None) -> float:
    """Return the mean negative log-likelihood in nats; NaN without weight."""
    w = _weights(p, weight)
    return float(np.average(row_loss(silent, p), weights=w)) if w.sum() > 0 else float("nan")


def calibration_error(
    silent: Flags, p: Floats, weight: Floats | None = None, bins: int = BINS
) -> float:
    """Return the expected calibration error (ECE) over bins of equal weight.

    sum over bins of (share of weight) x |mean probability - share silent| (Naeini, Cooper &
    Hauskrecht 2015, with equal-mass bins). Rows of one probability stay in one bin. NaN without
    weight.
    """
    w = _weights(p, weight)
    total = w.sum()
    if not total > 0:
        return float("nan")
    _, group = np.unique(p, return_inverse=True)
    sizes = np.bincount(group, weights=w)
    middle = np.cumsum(sizes) - sizes / 2.0
    bin_of = np.minimum(middle * bins / total, bins - 1).astype(np.int64)[group]
    gap = np.bincount(bin_of, weights=w * (p - silent), minlength=bins)
    return float(np.abs(gap).sum() / total)


def recall(
    silent: Flags, p: Floats, weight: Floats | None = None, share: float = BUDGET_SHARE
) -> float:
    """Return the share of the silent that the top `share` by probability finds: `Ranking.recall`.

    What a budget of warnings finds of all that could be found.
    """
    return Ranking(silent, p).recall(_weights(p, weight), share)


def lift(
    silent: Flags, p: Floats, weight: Floats | None = None, share: float = BUDGET_SHARE
) -> float:
    """Return the share silent among the top `share` by probability, over that among all.

    As `recall`; NaN where it is.
    """
    w = _weights(p, weight)
    return recall(silent, p, w, share) * float(w.sum()) / taken_rows(w, share) if len(w) else np.nan


def taken_rows(weight: Floats, share: float) -> float:
    """Return the weight that a budget of this share takes: at least one row's."""
    return max(float(weight.mean()), share * float(weight.sum()))


def _weights(p: Floats, weight: Floats | None) -> Floats:
    return np.ones(len(p)) if weight is None else weight
