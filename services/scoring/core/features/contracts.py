"""Contracts: which customers have one or had one that ended, and the label this gives.

The newest contract event of a customer decides whether a contract runs. Where a company has
contracts, their end is known churn, so it is not estimated from silence. This module never reads
purchases: a customer who comes back is reported by a new activation.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import EventColumns, Kind
from shared.kernel.arrays import Flags, Floats

Labels = Literal["silence", "contractual"]
"""What counts as churn: no purchase in the horizon; or, for a running contract, its end."""

_ACTIVATED: Final = Kind.CONTRACT_ACTIVATED - 1
_ENDED: Final = Kind.CONTRACT_ENDED - 1


def ended(states: NDArray[np.void]) -> Flags:
    """bool[n]: the newest contract event is an end. At equal times an activation is newer."""
    last = states["last"]
    return np.asarray(last[:, _ENDED] > last[:, _ACTIVATED])


def running(states: NDArray[np.void]) -> Flags:
    """bool[n]: a contract was activated and has not ended since."""
    last = states["last"]
    return np.asarray(np.isfinite(last[:, _ACTIVATED]) & ~ended(states))


def had(states: NDArray[np.void]) -> Flags:
    """bool[n]: a contract was ever activated."""
    return np.asarray(np.isfinite(states["last"][:, _ACTIVATED]))


def ended_within(states: NDArray[np.void], start: Floats, end: Floats) -> Flags:
    """bool[n]: the contract ended in [start, end) (Unix seconds) and was not activated again.

    `states` are from soon after `end`: a contract activated between `end` and that time counts
    as not ended.
    """
    at = states["last"][:, _ENDED]
    return np.asarray(ended(states) & (at >= start) & (at < end))


def ends(window: EventColumns, customers: int) -> Flags:
    """bool[customers]: the newest contract event among these is an end."""
    newest = np.full((2, customers), -np.inf)
    for row, kind in enumerate((Kind.CONTRACT_ENDED, Kind.CONTRACT_ACTIVATED)):
        of = window.kind == kind
        np.maximum.at(newest[row], window.row[of], window.time[of])
    return np.asarray(newest[0] > newest[1])
