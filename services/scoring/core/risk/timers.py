"""What a customer's timer says beside a time: look as soon as can be, and why.

What it is for: the few times that mean something, for those who set a timer and those who find it
due. It never decides when to look next (`rhythm`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

AFTER_BACKFILL: Final = 0.0
"""A timer of whom an import touched (Unix seconds): due as soon as it has ended, and that look is
the first."""

AT_NEXT_TICK: Final = 1.0
"""A timer of whom live events touched between ticks: due at the next one."""

PULLED: Final = 2.0
"""A timer that somebody pulled from outside a turn, who may have changed more than that: what a
worker remembers of the customer is read anew."""


def at_once(due_at: Floats) -> Flags:
    """bool[n]: the timer names no time of its own."""
    return np.asarray(due_at <= PULLED)


def onboarding(imported: Flags, due_at: Floats) -> Flags:
    """bool[n]: an import touched the customer, and nobody has looked since."""
    return np.asarray(imported | (due_at == AFTER_BACKFILL))
