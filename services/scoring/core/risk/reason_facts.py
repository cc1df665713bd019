"""The numbers that a reason quotes, in units that an account owner understands.

Each quoted number is defined once and computed from X alone, so that a sentence can always be
checked against the stored features. NaN: not known of this customer.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

from services.scoring.core.features.registry import column
from shared.kernel.arrays import Floats

LN2: Final = math.log(2)
MONTH_DAYS: Final = 28.0
"""The owner's month: four whole weeks, as in the calendar windows."""


def _purchases_before(x: Floats) -> Floats:
    return column(x, "purchase_days_56") - column(x, "purchase_days_28")


def _interactions_recent(x: Floats) -> Floats:
    # A constant stream of c events a day has D_h = c h / ln 2.
    return column(x, "interactions_decayed_30") * (LN2 * MONTH_DAYS / 30)


def _interactions_before(x: Floats) -> Floats:
    # What the long memory holds and the short one no longer does: weights are >= 0, sum
    # to (90 - 30) / ln 2, and leave out the recent; so a new customer's level is underestimated,
    # and a fall is never reported for them.
    older = column(x, "interactions_decayed_90") - column(x, "interactions_decayed_30")
    return older * (LN2 * MONTH_DAYS / (90 - 30))


def _column(name: str) -> Callable[[Floats], Floats]:
    return lambda x: column(x, name)


FACTS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "days_silent": _column("recency_days"),
    "usual_gap_days": _column("gap_mean_days"),
    "longest_gap_days": _column("gap_longest_days"),
    "days_since_first": _column("tenure_days"),
    "purchase_days": _column("purchase_days"),
    # Purchase days in the last four weeks, and in the four weeks before.
    "purchases_recent": _column("purchase_days_28"),
    "purchases_before": _purchases_before,
    # Interactions per four weeks: the last month or so, and the months before.
    "interactions_recent": _interactions_recent,
    "interactions_before": _interactions_before,
    # Mean order value, reporting currency: the last month or so, and the year.
    "order_value_recent": _column("order_value_30"),
    "order_value_before": _column("order_value_365"),
    "complaints_open": _column("complaints_open"),
    "days_since_complaint": _column("complaint_recency_days"),
    "days_to_end": _column("contract_rest_days"),
    "points_expiring": _column("points_expiring"),
    "days_to_expiry": _column("points_expiry_days"),
    "days_since_lowered": _column("level_lowered_days"),
    "survey_score": _column("survey_score"),
    "survey_change": _column("survey_change"),
    "recommendation_score": _column("recommendation_score"),
}
"""Fact name -> float64[n] from X."""
