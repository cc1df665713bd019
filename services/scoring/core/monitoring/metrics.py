"""Measures of ranking and calibration of probabilities, with weighted rows.

The promotion gate and model monitoring share one weighted ROC-AUC, log loss and calibration
error. This module never chooses rows and never reads a label that has not matured.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PROBABILITY_MIN: Final = 1e-7
"""Log loss clips here, so that one certain mistake costs 16 instead of infinity."""
BINS: Final = 10
"""Bins of equal weight for the calibration error."""
LIFT_SHARE: Final = 0.10
"""Share of customers that an owner can attend to."""


class Ranking:
    """Probabilities sorted once, so that each weighting of the rows costs one pass."""

    def __init__(self, silent: Bools, p: Floats) -> None:
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


def row_loss(silent: Bools, p: Floats) -> Floats:
    """Return the log loss of each row in nats."""
    q = np.clip(p, PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)
    return -np.where(silent, np.log(q), np.log1p(-q))


def calibration_error(silent: Bools, p: Floats, weight: Floats) -> float:
    """Return the mean distance of probability and outcome over bins of equal weight (ECE)."""
    order = np.argsort(p, kind="stable")
    w = weight[order]
    if not w.sum() > 0:
        return float("nan")
    bin_of = np.minimum((BINS * (np.cumsum(w) - w / 2) / w.sum()).astype(np.int64), BINS - 1)
    gap = np.bincount(bin_of, weights=w * (silent[order] - p[order]), minlength=BINS)
    return float(np.abs(gap).sum() / w.sum())


def lift(silent: Bools, p: Floats, weight: Floats) -> float:
    """Return the silent share among the tenth of highest probability, over that among all."""
    order = np.argsort(-p, kind="stable")
    w = weight[order]
    top = np.cumsum(w) <= LIFT_SHARE * w.sum()
    base = float(np.average(silent, weights=weight)) if w.sum() > 0 else 0.0
    if not top.any() or base == 0.0:
        return float("nan")
    return float(np.average(silent[order][top], weights=w[top]) / base)
