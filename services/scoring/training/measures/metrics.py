"""Measures a churn probability: ranking, level and sharpness, in plain numpy.

The positive class is silence (no purchase within the horizon). Every function takes `silent`:
bool[n] and `p`: float64[n], and is exact under ties. No model is chosen here.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ECE_BINS = 15
"""Number of equal-mass bins: enough to see a bend, few enough that a test cutoff of 2,469 customers
keeps about 165 in each (a perfectly calibrated model then still shows about 0.01)."""
PROBABILITY_MIN = 1e-7
"""Clip of the log loss, so that one certain mistake costs 16, not infinity."""
LIFT_SHARE = 0.10
"""Share of customers an owner can attend to: the top decile, as in the churn literature."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The six measures on one set of customers; NaN where a measure is not defined."""

    rows: int
    base_rate: float
    roc_auc: float
    pr_auc: float
    brier: float
    log_loss: float
    ece: float
    lift_at_10: float

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the measures for JSON: NaN becomes None."""
        return {k: None if v != v else v for k, v in asdict(self).items()}  # noqa: PLR0124


def scores(silent: Bools, p: Floats) -> Scores:
    """Compute all measures at once."""
    return Scores(
        rows=len(silent),
        base_rate=float(silent.mean()) if len(silent) else float("nan"),
        roc_auc=roc_auc(silent, p),
        pr_auc=pr_auc(silent, p),
        brier=brier(silent, p),
        log_loss=log_loss(silent, p),
        ece=ece(silent, p),
        lift_at_10=lift(silent, p),
    )


def roc_auc(silent: Bools, p: Floats) -> float:
    """Return the probability that a silent customer ranks above a buying one; ties count half.

    Mann & Whitney (1947) by mid-ranks. NaN unless both classes are present.
    """
    positives = int(silent.sum())
    negatives = len(silent) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, group, sizes = np.unique(p, return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(sizes) - (sizes - 1) / 2.0
    rank_sum = float(mid_rank[group][silent].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def pr_auc(silent: Bools, p: Floats) -> float:
    """Return the average precision: precision at each threshold, weighted by the recall it adds.

    Customers with one score enter together. NaN without a positive.
    """
    positives = int(silent.sum())
    if positives == 0:
        return float("nan")
    _, group, sizes = np.unique(-p, return_inverse=True, return_counts=True)
    hits = np.bincount(group, weights=silent, minlength=len(sizes))
    precision = np.cumsum(hits) / np.cumsum(sizes)
    return float((precision * hits).sum() / positives)


def brier(silent: Bools, p: Floats) -> float:
    """Return the mean squared error of the probability (Brier 1950)."""
    return float(np.mean((p - silent) ** 2)) if len(p) else float("nan")


def log_losses(silent: Bools, p: Floats) -> Floats:
    """Return the negative log-likelihood of each customer (nats), shape [n]."""
    clipped = np.clip(p, PROBABILITY_MIN, 1.0 - PROBABILITY_MIN)
    return -np.log(np.where(silent, clipped, 1.0 - clipped))


def log_loss(silent: Bools, p: Floats) -> float:
    """Return the mean negative log-likelihood (nats)."""
    return float(log_losses(silent, p).mean()) if len(p) else float("nan")


def ece(silent: Bools, p: Floats, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error over equal-mass bins of the sorted probability.

    sum over bins of (share of customers) x |mean probability - share silent| (Naeini, Cooper &
    Hauskrecht 2015, with equal-mass bins). Customers with one score are never split between bins,
    so the order of the rows does not matter.
    """
    if len(p) == 0:
        return float("nan")
    _, group, sizes = np.unique(p, return_inverse=True, return_counts=True)
    middle = np.cumsum(sizes) - sizes / 2.0
    of_row = np.minimum(middle * bins / len(p), bins - 1).astype(np.int64)[group]
    gap = np.bincount(of_row, weights=p - silent, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def lift(silent: Bools, p: Floats, share: float = LIFT_SHARE) -> float:
    """Return the share silent among the top `share` by score, over the base rate.

    Customers tied at the edge enter in proportion, as if drawn at random. NaN without a positive.
    """
    positives = int(silent.sum())
    if positives == 0:
        return float("nan")
    _, group, sizes = np.unique(-p, return_inverse=True, return_counts=True)
    hits = np.bincount(group, weights=silent, minlength=len(sizes))
    chosen = max(1.0, share * len(p))
    before = np.cumsum(sizes) - sizes
    taken = np.clip(chosen - before, 0.0, sizes)
    return float((hits * taken / sizes).sum() / chosen / (positives / len(p)))
