"""The behaviour state of a customer and the state machine of the customer lifecycle.

Active, dormant and churned follow from elapsed time alone; one explicit table leads from
(lifecycle state, signal) to the next state. This module never reads money or probabilities.
"""

from typing import Final

import numpy as np
from scipy.special import betainc

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import column
from services.scoring.core.risk.lapse import DORMANT_SHARE, SilenceColumns
from services.scoring.core.value.policy import ValuePolicy
from shared.contracts.risk import Behaviour, Lifecycle
from shared.kernel.arrays import Codes, Flags, Floats

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
"""The present signal: no purchase yet; active and first seen recently; active and buying more
than before (`rising`); active otherwise; and the two silent behaviour states."""

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
usual gap that is learned later does not end it."""

RISING: Final = 1.2
"""Purchase days per day now over those before, from which a customer is growing: a fifth more is
worth acting on."""
CHANCE_MAX: Final = 0.05
"""Greatest chance of so many purchase days without a change of behaviour; above, it may be luck."""
RECENT_DAYS: Final = 92
"""The last quarter and today: `purchase_days_91`."""
QUARTER_DAYS: Final = 91
"""The quarter before it."""
YEAR_DAYS: Final = 273
"""The three quarters before it."""


def behaviour(silences: SilenceColumns) -> Codes:
    """Return the behaviour as an index into `BEHAVIOURS`, int8[n]; `NONE` without a purchase.

    Dormant from `lapse.DORMANT_SHARE` of the lapse length on, churned from all of it on. Never
    goes back while the customer stays silent.
    """
    share = silences.share
    state = (share >= DORMANT_SHARE).astype(np.int8) + silences.reached
    return np.where(np.isnan(share), NONE, state).astype(np.int8)


def rising(x: Floats, state: Codes, policy: ValuePolicy) -> Flags:
    """bool[n]: the customer buys clearly more than before.

    The last quarter is compared with the three before it, or with the one before it while the
    customer is known for too short; never with the first `new_days`, in which every customer
    begins. Rising begins where the purchase days are `RISING` times as dense and so many would
    come by chance at most every twentieth time: given a + b days in both spans, a is binomial with
    the share of the time (the exact test of two Poisson rates: Przyborowski & Wilenski 1940,
    Biometrika 31(3/4) 313-323). It ends where they are no longer so dense, so that the state does
    not flap. `state`: the state before.
    """
    recent = column(x, "purchase_days_91")
    known = column(x, "tenure_days") - policy.new_days
    year = known >= RECENT_DAYS + YEAR_DAYS
    earlier = (
        np.where(year, column(x, "purchase_days_364"), column(x, "purchase_days_182")) - recent
    )
    span = np.where(year, YEAR_DAYS, QUARTER_DAYS)
    dense = (known >= RECENT_DAYS + QUARTER_DAYS) & (recent > 0)
    dense &= recent * span >= RISING * earlier * RECENT_DAYS
    # P(at least a of a + b), the tail of the binomial as a beta function.
    chance = betainc(np.maximum(recent, 1), earlier + 1, RECENT_DAYS / (RECENT_DAYS + span))
    return np.asarray(dense & ((state == GROWING) | (chance <= CHANCE_MAX)))


def signal(x: Floats, behaves: Codes, state: Codes, policy: ValuePolicy) -> Codes:
    """Return the signal as an index into `SIGNALS`, int8[n]; `state`: the lifecycle before."""
    tenure = column(x, "tenure_days")
    fresh = tenure <= policy.new_days
    active = np.where(fresh, 1, np.where(rising(x, state, policy), 2, 3))
    return np.where(behaves == NONE, 0, np.where(behaves == 0, active, behaves + 3)).astype(np.int8)


def advance(
    state: Codes, since: Floats, seen: Codes, now: Floats, policy: ValuePolicy
) -> tuple[Codes, Floats]:
    """Return the next lifecycle state and its beginning (Unix seconds), by `TABLE`.

    `state` is an index into `LIFECYCLES`, `NONE` before the first assessment; `since` its
    beginning. Won back ends after `won_back_days`; the signal alone then decides.
    """
    over = (state == WON_BACK) & (now - since > policy.won_back_days * DAY_S)
    before = np.where((state == NONE) | over, PROSPECT, state)
    after = TABLE[before, seen]
    return after, np.where(after == state, since, now)
