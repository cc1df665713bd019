"""Finds features that know the future: removes later events and compares the features.

Runs in every training, at its last cutoff, because one leaking column makes every measure wrong. It
does not judge how well a feature predicts; only whether it could have been known.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from services.scoring.core.features.compute import features
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import empty
from services.scoring.training.data.event_table import EventTable
from shared.kernel.arrays import Floats

Snapshot = Callable[[EventTable, float], Floats]
"""(table, cutoff in unix seconds) -> float64[customers, F]."""


def snapshot(table: EventTable, cutoff: float) -> Floats:
    """Compute features of every customer of the table from the events before the cutoff."""
    states = fold(empty(len(table.customers)), table.between(-np.inf, cutoff))
    return features(states, np.full(len(table.customers), cutoff))


def leaking(table: EventTable, cutoff: float, make: Snapshot = snapshot) -> list[str]:
    """Return the names of the features that differ once events at or after the cutoff are removed.

    Empty for a correct `make`. Catches any dependence on later events that shows in a value, also
    one that appears as a missing value.
    """
    blind = replace(table, events=table.between(-np.inf, cutoff))
    known, honest = make(table, cutoff), make(blind, cutoff)
    differs = np.any((known != honest) & ~(np.isnan(known) & np.isnan(honest)), axis=0)
    return [feature.name for feature, bad in zip(FEATURES, differs, strict=True) if bad]
