"""Special values of a customer's timer: assess as soon as possible, and why.

They are shared by the code that sets timers and the code that finds them due. When to assess next
is decided in `assessment_schedule`.
"""

from typing import Final

import numpy as np

from shared.kernel.arrays import Flags, Floats

AFTER_BACKFILL: Final = 0.0
"""The timer (Unix seconds) of a customer in a running import: due as soon as the import has ended,
for the customer's first assessment."""

AT_NEXT_TICK: Final = 1.0
"""The timer of a customer with live events between ticks: due at the next tick."""

PULLED: Final = 2.0
"""A timer set from outside a batch, by a writer who may have changed more than the timer: a worker
reads its cached data of the customer again."""

NEVER: Final = 4_102_444_800.0
"""The timer of a customer who does not want to be assessed: the year 2100."""


def at_once(due_at: Floats) -> Flags:
    """bool[n]: the timer holds one of the special values, not a time of its own."""
    return np.asarray(due_at <= PULLED)


def onboarding(imported: Flags, due_at: Floats) -> Flags:
    """bool[n]: an import touched the customer, who has not been assessed since."""
    return np.asarray(imported | (due_at == AFTER_BACKFILL))
