"""Memories that fade: sums over events that halve with every half-life, one column for each.

A memory is as of the time of its newest event. All times are Unix seconds UTC.
"""

from collections.abc import Sequence

import numpy as np

from services.scoring.core.features.events import DAY_S
from shared.kernel.arrays import Floats, Ints


def decay_per_s(lives_days: Sequence[int]) -> Floats:
    """Return the half-lives that pass in a second, one for each column of a memory."""
    return 1.0 / (np.array(lives_days) * DAY_S)


def weight(age_s: Floats, per_s: Floats) -> Floats:
    """Return the weight of an event of this age, float64[n, lives]: 2^(-age / half-life)."""
    return np.exp2(-age_s[:, None] * per_s)


def faded(memory: Floats, newest: Floats, time: Floats, per_s: Floats) -> Floats:
    """Return a memory, float64[n, k, lives], as of a time, at least its `newest` event's.

    Zeros where there was no event (`newest` is infinite)."""
    known = np.isfinite(newest)
    age = np.where(known, np.maximum(time - np.where(known, newest, 0.0), 0.0), 0.0)
    kept = np.where(known[:, None], weight(age, per_s), 0.0)
    return np.asarray(memory * kept[:, None, :])


def bring(memory: Floats, rows: Ints, before: Floats, now: Floats, per_s: Floats) -> None:
    """Bring these rows of a memory from the time `before` to `now`, where that is later."""
    later = np.flatnonzero(now > before)
    memory[rows[later]] *= weight(now[later] - before[later], per_s)[:, None, :]


def add(cells: Floats, at: Ints, weights: Floats) -> None:
    """Add events of these weights, float64[n, lives]; `at`: the first cell of each one's memory."""
    into = at[:, None] + np.arange(weights.shape[1])
    np.add.at(cells, into.ravel(), weights.ravel())
