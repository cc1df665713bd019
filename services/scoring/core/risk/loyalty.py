"""When the loyalty programme is evidence that a customer drifts away.

The reasons and the detectors of signs share these conditions. They are facts of the programme, not
tests of chance; the policy decides which customers are warned about.
"""

from typing import Final

import numpy as np

from services.scoring.core.features.registry import column
from shared.kernel.arrays import Flags, Floats

EXPIRY_DAYS: Final = 30.0
"""Days before points expire from which they count: a month, in which they can still be spent."""
UNUSED_DAYS: Final = 91.0
"""Who has spent points within a quarter uses them, and is left alone."""
POINTS_SHARE: Final = 0.5
"""Share of the balance that must be about to expire: who keeps most of the points loses little."""
LOWERED_DAYS: Final = 91.0
"""A lowered level counts for a quarter. Demoted customers are less loyal than those who never had
the level (Wagner, Hennig-Thurau & Rudolph 2009, J. Marketing 73(3))."""


def points_unused(x: Floats) -> Flags:
    """bool[n]: most of the points expire within `EXPIRY_DAYS`, and none was spent lately.

    Points bind: the closer a reward is, the more often customers buy (Kivetz, Urminsky & Zheng
    2006, J. Marketing Research 43(1)). Who lets most of them expire unused gives up that bond.
    """
    points, held = column(x, "points_expiring"), column(x, "points_balance")
    # NaN: never spent any; no balance is known, so that these are all points that are known.
    lately = column(x, "points_spent_recency_days") < UNUSED_DAYS
    few = points < POINTS_SHARE * held
    soon = column(x, "points_expiry_days") <= EXPIRY_DAYS
    return np.asarray((points > 0) & soon & ~lately & ~few)


def level_fell(x: Floats) -> Flags:
    """bool[n]: the level was lowered within `LOWERED_DAYS`, and not raised since."""
    return np.asarray(column(x, "level_lowered_days") <= LOWERED_DAYS)
