"""Computes the curves behind the measures, thinned to what a drawing can show.

Every function takes `silent`: bool[n] and `p`: float64[n], and returns (x, y) of one length. Rows
of one score enter together, so no curve depends on the order of the rows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.kernel.arrays import Flags, Floats

POINTS_MAX: Final = 200
"""Points of a curve: more than a drawing of 400 pixels can show."""
BINS: Final = 10
"""Bins of the reliability curve, of equal mass: deciles, which owners know."""

Curve = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class _Steps:
    """Cumulative counts by falling score, one step for each distinct score."""

    taken: Floats
    hits: Floats


def roc(silent: Flags, p: Floats) -> Curve:
    """Return the false positive rate against the true positive rate."""
    steps = _steps(silent, p, np.ones(len(p)))
    misses = steps.taken - steps.hits
    return _thin(misses / max(misses[-1], 1.0), steps.hits / max(steps.hits[-1], 1.0))


def precision_recall(silent: Flags, p: Floats) -> Curve:
    """Return recall against precision."""
    steps = _steps(silent, p, np.ones(len(p)))
    recall, precision = steps.hits / max(steps.hits[-1], 1.0), np.ones(len(steps.hits))
    np.divide(steps.hits, steps.taken, out=precision, where=steps.taken > 0)
    return _thin(recall, precision)


def gain(silent: Flags, p: Floats, value: Floats) -> Curve:
    """Return the share of customers, riskiest first, against the share of silent ones found.

    `value` float64[n]: what each customer counts for, 1 or money.
    """
    all_customers = _steps(silent, p, np.ones(len(p)))
    found = _steps(silent, p, value).hits
    return _thin(
        all_customers.taken / max(all_customers.taken[-1], 1.0), found / (found[-1] or 1.0)
    )


def reliability(silent: Flags, p: Floats) -> Curve:
    """Return the mean probability against the share silent, in bins of equal mass."""
    parts = np.array_split(np.argsort(p, kind="stable"), min(BINS, max(1, len(p))))
    parts = [part for part in parts if len(part)]
    return (np.array([p[part].mean() for part in parts]),
            np.array([silent[part].mean() for part in parts]))  # fmt: skip


def _steps(silent: Flags, p: Floats, value: Floats) -> _Steps:
    _, group = np.unique(-p, return_inverse=True)
    taken = np.bincount(group, weights=value)
    hits = np.bincount(group, weights=value * silent)
    return _Steps(np.r_[0.0, np.cumsum(taken)], np.r_[0.0, np.cumsum(hits)])


def _thin(x: Floats, y: Floats) -> Curve:
    if len(x) <= POINTS_MAX:
        return x, y
    at = np.unique(np.searchsorted(x, np.linspace(x[0], x[-1], POINTS_MAX)).clip(0, len(x) - 1))
    at = np.union1d(at, [0, len(x) - 1])
    return x[at], y[at]
