"""Outcomes of past scores, from the customer's later purchase days in the state.

Outcomes are found without reading events again, and the scores are measured against them. A
customer is never counted before the horizon has passed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.bitmap import day_of, unpack
from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.core.monitoring.metrics import (
    BUDGET_SHARE,
    calibration_error,
    lift,
    log_loss,
    roc_auc,
)
from shared.kernel.arrays import Flags, Floats, Ints

ROWS_MIN: Final = 200
LABEL_MIN: Final = 25
"""A group with fewer rows, or with fewer of either label, is not measured."""
NEW_DAYS: Final = 91.0
"""A customer is new for a quarter, as in the gate's segments."""


PROMISED_SEGMENTS: Final = {"all": "all", "active": "active", "bought again": "ge2"}
"""Monitored segment -> the same customers in a model's card."""


@dataclass(frozen=True, slots=True)
class GroupQuality:
    """The quality of one group's scores."""

    segment: str
    rows: int
    observed: float
    """Share silent, weighted."""
    expected: float
    """Mean probability, weighted."""
    roc_auc: float
    log_loss: float
    calibration_error: float
    lift_at_10: float

    @property
    def recall_at_10(self) -> float:
        """Share of the silent that the budget of warnings finds: a tenth of the lift."""
        return self.lift_at_10 * BUDGET_SHARE

    def beside_the_card(self) -> dict[str, float]:
        """Return the measures that are shown beside those of the model's card."""
        return {
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
            "recall_at_10": self.recall_at_10,
        }


def next_purchase_days(states: NDArray[np.void], after: Ints) -> Floats:
    """float64[n]: first purchase day >= `after` of each customer, UTC days; +inf without one."""
    last = day_of(states["last"][:, Kind.PURCHASE - 1])
    row, day = unpack(np.ascontiguousarray(states["days"]), last)
    found = np.full(len(states), np.inf)
    later = day >= after[row]
    np.minimum.at(found, row[later], day[later])
    return found


def first_day(called_at: Floats, bought_that_day: Flags) -> Ints:
    """Return the day from which a purchase counts as a return, int64[n].

    It is the day of the score itself, unless a purchase of that day was known then: the state
    keeps days, and a second purchase on one day is indistinguishable from the first.
    """
    return day_of(called_at) + bought_that_day


def last_day(called_at: Floats, horizon_days: Ints) -> Ints:
    """Return the last day of the horizon, int64[n], rounded to the nearest whole day."""
    return np.asarray(np.round(called_at / DAY_S).astype(np.int64) + horizon_days - 1)


def segments_of(
    purchase_days: Floats, recency_days: Floats, tenure_days: Floats, horizon_days: Ints
) -> dict[str, Flags]:
    """Return the groups that are monitored separately; `all` is first."""
    once, recent = purchase_days <= 1, recency_days <= horizon_days
    return {
        "all": np.ones(len(once), np.bool_),
        "active": recent,
        "silent": ~recent,
        "bought once": once,
        "bought again": ~once,
        "new": tenure_days <= NEW_DAYS,
    }


def group_quality(segment: str, silent: Flags, p: Floats, weight: Floats) -> GroupQuality | None:
    """Measure one group's rows; None where there are too few."""
    kept = weight > 0
    silent, p, weight = silent[kept], p[kept], weight[kept]
    if len(silent) < ROWS_MIN or min(int(silent.sum()), int((~silent).sum())) < LABEL_MIN:
        return None
    return GroupQuality(
        segment=segment,
        rows=len(silent),
        observed=float(np.average(silent, weights=weight)),
        expected=float(np.average(p, weights=weight)),
        roc_auc=roc_auc(silent, p, weight),
        log_loss=log_loss(silent, p, weight),
        calibration_error=calibration_error(silent, p, weight),
        lift_at_10=lift(silent, p, weight),
    )
