"""Where a customer stands in time: the behaviour state, and the lifecycle state machine.

What it is for: active, dormant, churned from elapsed time alone; and one explicit table from
(lifecycle state, what is seen now) to the next state. It never looks at money or probabilities.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.events import DAY_S
from services.scoring.core.registry import feature_index
from services.scoring.core.rhythm import expected_gap_days
from services.scoring.core.value.policy import ValuePolicy
from shared.contracts.risk import Behaviour, Lifecycle

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]

NONE: Final = -1
BEHAVIOURS: Final[tuple[Behaviour, ...]] = ("active", "dormant", "churned")
LIFECYCLES: Final[tuple[Lifecycle, ...]] = (
    "prospect",
    "new",
    "growing",
    "mature",
    "at_risk",
    "churned",
    "won_back",
)
PROSPECT, NEW, GROWING, MATURE, AT_RISK, CHURNED, WON_BACK = range(len(LIFECYCLES))

SIGNALS: Final = ("no_purchase", "fresh", "rising", "settled", "dormant", "churned")
"""What is seen now: nobody who bought yet; active and first seen lately; active and young or buying
more than before; active otherwise; and the two silent behaviour states."""

TABLE: Final = np.array(
    [  # no_purchase, fresh, rising,   settled,  dormant, churned
        [PROSPECT, NEW, GROWING, MATURE, AT_RISK, CHURNED],  # prospect, or never seen before
        [PROSPECT, NEW, GROWING, MATURE, AT_RISK, CHURNED],  # new
        [PROSPECT, GROWING, GROWING, MATURE, AT_RISK, CHURNED],  # growing
        [PROSPECT, MATURE, GROWING, MATURE, AT_RISK, CHURNED],  # mature
        [PROSPECT, NEW, GROWING, MATURE, AT_RISK, CHURNED],  # at_risk
        [PROSPECT, WON_BACK, WON_BACK, WON_BACK, CHURNED, CHURNED],  # churned
        [PROSPECT, WON_BACK, WON_BACK, WON_BACK, AT_RISK, CHURNED],  # won_back
    ],
    np.int8,
)
"""Next state by [state, signal]; docs/segmentation.md prints it. `no_purchase` after a purchase
happens only when an identity merge was undone. Only a purchase leads out of `churned`: a longer
usual gap, learned later, does not bring anybody back."""

RISING: Final = 1.2
"""Purchase rate of the last months over the year's from which a customer is growing."""


def behaviour(x: Floats, policy: ValuePolicy) -> Codes:
    """Index into `BEHAVIOURS`, int8[n]; `NONE` without a purchase.

    Silence in usual gaps (`rhythm.expected_gap_days`, held towards a prior while purchases are
    few), within bounds in days. Never goes back while the customer stays silent.
    """
    silence = x[:, feature_index["recency_days"]]
    gap = expected_gap_days(x)
    dormant = np.maximum(policy.dormant_gaps * gap, policy.dormant_days_min)
    churned = np.maximum(policy.churned_gaps * gap, policy.churned_days_min)
    churned = np.minimum(churned, policy.churned_days_max)
    state = (silence > np.minimum(dormant, churned)).astype(np.int8) + (silence > churned)
    return np.where(np.isnan(silence), NONE, state).astype(np.int8)


def signal(x: Floats, behaves: Codes, policy: ValuePolicy) -> Codes:
    """Index into `SIGNALS`, int8[n]."""
    tenure = x[:, feature_index["tenure_days"]]
    days = x[:, feature_index["purchase_days"]]
    trend = x[:, feature_index["purchases_trend_90_365"]]
    fresh = (tenure <= policy.new_days) & (days <= 2)  # noqa: PLR2004 (a second purchase is a trial)
    # In the first year the year's rate is not known yet, so youth alone counts as growing.
    rising = (tenure <= policy.mature_days) | (trend >= RISING)
    active = np.where(fresh, 1, np.where(rising, 2, 3))
    return np.where(behaves == NONE, 0, np.where(behaves == 0, active, behaves + 3)).astype(np.int8)


def advance(
    state: Codes, since: Floats, seen: Codes, now: Floats, policy: ValuePolicy
) -> tuple[Codes, Floats]:
    """The next lifecycle state and since when (Unix seconds), by `TABLE`.

    `state` is an index into `LIFECYCLES`, `NONE` before the first look; `since` its beginning.
    Won back is left after `won_back_days`, as a customer whom the signal describes.
    """
    over = (state == WON_BACK) & (now - since > policy.won_back_days * DAY_S)
    before = np.where((state == NONE) | over, PROSPECT, state)
    after = TABLE[before, seen]
    return after, np.where(after == state, since, now)
