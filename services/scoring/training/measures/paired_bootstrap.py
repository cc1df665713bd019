"""Measures how much better one set of probabilities is than another, with an interval.

Customers are drawn with replacement, with all their rows (Efron & Tibshirani 1993, ch. 8: the unit
that is independent is the customer, not the row); both contenders are measured on each draw, so
that difficulties that both share cancel out. No decision is made here.
"""

from typing import Final

import msgspec
import numpy as np

from services.scoring.core.monitoring.metrics import Ranking, row_loss
from shared.kernel.arrays import Flags, Floats, Ints

RESAMPLES: Final = 400
"""Number of resamples: the ends of a 95 % interval then rest on ten draws each: steady to a tenth
of its width."""


class MeanInterval(msgspec.Struct, frozen=True):
    """A mean and its percentile interval; NaN-free: `None` where not defined."""

    mean: float | None
    low: float | None
    high: float | None


class Gains(msgspec.Struct, frozen=True):
    """Gains of our probabilities over the other ones; positive is better for every measure."""

    log_loss: MeanInterval
    """Theirs minus ours, nats per row."""
    roc_auc: MeanInterval
    """Ours minus theirs."""
    recall: MeanInterval
    """Share of the silent that the budget finds, ours minus theirs (`metrics.recall`)."""


class Rows(msgspec.Struct, frozen=True):
    """n rows: whether silent, which customer, what weight."""

    silent: Flags
    customer: Ints
    weight: Floats

    def select(self, chosen: Flags) -> "Rows":
        """Select the rows where `chosen`."""
        return Rows(self.silent[chosen], self.customer[chosen], self.weight[chosen])


def gains(rows: Rows, ours: Floats, theirs: Floats, level: float, seed: int) -> Gains:
    """Compute paired bootstrap intervals of this level (0.95) for each measure.

    Probabilities are float64[n]. An interval is None where it is not defined (one label only).
    """
    customers, owner = np.unique(rows.customer, return_inverse=True)
    random = np.random.default_rng(seed)
    ahead = (row_loss(rows.silent, theirs) - row_loss(rows.silent, ours)) * rows.weight
    gain = np.bincount(owner, weights=ahead, minlength=len(customers))
    weight = np.bincount(owner, weights=rows.weight, minlength=len(customers))
    one, other = Ranking(rows.silent, ours), Ranking(rows.silent, theirs)
    log_loss, auc, recall = np.empty((3, RESAMPLES))
    for draw in range(RESAMPLES):
        times = np.bincount(
            random.integers(0, len(customers), len(customers)), minlength=len(customers)
        ).astype(np.float64)
        log_loss[draw] = times @ gain / (times @ weight)
        drawn = times[owner] * rows.weight
        auc[draw] = one.auc(drawn) - other.auc(drawn)
        recall[draw] = one.recall(drawn) - other.recall(drawn)
    return Gains(
        log_loss=_interval(log_loss, float(gain.sum() / weight.sum()), level),
        roc_auc=_interval(auc, one.auc(rows.weight) - other.auc(rows.weight), level),
        recall=_interval(recall, one.recall(rows.weight) - other.recall(rows.weight), level),
    )


def _interval(draws: Floats, mean: float, level: float) -> MeanInterval:
    known = draws[~np.isnan(draws)]
    if np.isnan(mean) or not len(known):
        return MeanInterval(None, None, None)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return MeanInterval(mean, float(low), float(high))
