"""The customers at the end of a history: what needs no labels is fitted to them.

The rows, and their order, are the same whether the history is in memory or on disk in pieces, so
that a sum over them is the same to the last bit.
"""

from typing import Final

import numpy as np

from services.scoring.core.features import contracts
from services.scoring.core.features.compute import features
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.features.state import empty
from services.scoring.training.data.event_table import EventTable
from services.scoring.training.data.history import History
from services.scoring.training.data.panel import FEATURE_ROWS_MAX
from shared.kernel.arrays import Floats

PRESENT_MAX: Final = 50_000
"""Customers to fit to, at most about: four parameters then have standard errors below a
hundredth."""
HASH_RANGE: Final = float(1 << 64)


def present(history: History, end: float, customers_max: int = PRESENT_MAX) -> Floats:
    """Return the features at `end` (unix seconds, UTC) of customers who have bought: float64[n, F].

    Without customers with an ended contract. Beyond `customers_max` a random share is taken, by a
    hash of the ids.
    """
    bought = int((history.first_purchases() < end).sum())
    share = min(1.0, customers_max / max(1, bought))
    x = np.concatenate(
        [np.empty((0, len(FEATURES))), *(_buyers(table, end, share) for table in history.tables())]
    )
    return x[np.lexsort(x.T)]


def _buyers(table: EventTable, end: float, share: float) -> Floats:
    states = fold(empty(len(table.customers)), table.between(-np.inf, end))
    rows = np.flatnonzero((table.first_purchases() < end) & ~contracts.ended(states))
    if share < 1.0:
        drawn = [stable_hash(table.customers[at]) < share * HASH_RANGE for at in rows.tolist()]
        rows = rows[np.array(drawn, np.bool_)]
    parts = [
        features(states[piece], np.full(len(piece), end))
        for piece in np.split(rows, range(FEATURE_ROWS_MAX, len(rows), FEATURE_ROWS_MAX))
    ]
    return np.concatenate(parts)
