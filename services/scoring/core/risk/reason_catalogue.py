"""The catalogue of reasons: what each means, when it holds, and which numbers it quotes.

It lists every reason code that scoring may send. Each feature belongs to one reason, so that
impacts add up. It never ranks (`reasons` does) and holds no sentences.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.features.registry import KINDS, POINTS, column
from services.scoring.core.risk.loyalty import level_fell, points_unused
from services.scoring.core.risk.reason_facts import FACTS
from services.scoring.core.risk.rhythm import expected_gap_days
from shared.kernel.arrays import Flags, Floats

NEW_DAYS: Final = 91.0
"""A quarter: a customer with one purchase is new until then, and seldom afterwards."""
QUIET_DAYS: Final = 7.0
"""A customer who bought within the week is not called quiet."""
ORDERS_MIN: Final = 2.0
"""Recent orders (fading by half in 30 days) needed for a fallen order value: one small order is
chance."""
SELDOM_DAYS: Final = 21.0
"""An expected gap from here on is seldom: at a four-week horizon, this covers nearly every
customer with 0.5 or above by the rhythm rule who is not late."""
FALLEN: Final = 0.8
"""Falling means at most four fifths of before; a smaller difference is chance."""
BEFORE_MIN: Final = 2.0
"""Fewer purchase days or interactions in four weeks are no level to fall from."""
AMOUNT_MIN: Final = 0.01
"""Reporting currency: a customer who never paid anything has no order value to lose."""
NOTICE_DAYS: Final = 30.0
"""Days before the end of a contract from which it explains a risk."""
SCORE_LOW: Final = 6.0
"""0-6 of 10: the detractors of the recommendation scale (Reichheld 2003)."""
SCORE_DROP: Final = -3.0
"""Change between two surveys that counts as a drop at any level, in points."""


@dataclass(frozen=True, slots=True)
class ReasonSpec:
    """One reason. `holds` and `points` map X, float64[n, F], to n values."""

    code: str
    meaning: str
    features: tuple[str, ...]
    """Features with contributions that this reason explains."""
    otherwise: tuple[str, ...]
    """Codes that explain them where this reason does not hold; the first that holds is used."""
    facts: tuple[str, ...]
    """Numbers that it quotes, names of `reason_facts.FACTS`; those that are NaN are left out."""
    holds: Callable[[Floats], Flags]
    points: Callable[[Floats], Floats]
    """Its score under the rule, >= 0: a change counts one, and one more for each doubling or
    halving of the usual level; a lasting trait counts less than one, so that changes lead."""
    always: bool = False
    """Reported whenever it holds, even where it adds nothing to the score."""


def _fell(recent: str, before: str, least: float) -> Callable[[Floats], Flags]:
    """Return a condition: there was a level of at least `least`, and it is clearly lower now."""

    def holds(x: Floats) -> Flags:
        old = FACTS[before](x)
        return np.asarray((old >= least) & (FACTS[recent](x) <= FALLEN * old))

    return holds


def _halvings(recent: str, before: str) -> Callable[[Floats], Floats]:
    """Return the points of a fall. 1 is added to both sides: 1 -> 0 is one halving."""
    return lambda x: 1 + np.log2((FACTS[before](x) + 1.0) / (FACTS[recent](x) + 1.0))


def _one(x: Floats) -> Floats:
    return np.ones(len(x))


def _late(x: Floats) -> Flags:
    return np.asarray(column(x, "recency_days") > column(x, "gap_mean_days"))


def _new(x: Floats) -> Flags:
    return np.asarray((column(x, "purchase_days") == 1) & (column(x, "tenure_days") <= NEW_DAYS))


def _new_and_quiet(x: Floats) -> Flags:
    return np.asarray(_new(x) & (column(x, "recency_days") >= QUIET_DAYS))


def _value_fell(x: Floats) -> Flags:
    fell = _fell("order_value_recent", "order_value_before", AMOUNT_MIN)(x)
    return np.asarray(fell & (column(x, "purchases_decayed_30") >= ORDERS_MIN))


def _seldom(x: Floats) -> Flags:
    bought = column(x, "purchase_days") > 0
    return np.asarray(bought & (expected_gap_days(x) >= SELDOM_DAYS) & ~_new_and_quiet(x))


def _worst_score(x: Floats) -> Floats:
    return np.fmin(column(x, "survey_score"), column(x, "recommendation_score"))


def _dissatisfied(x: Floats) -> Flags:
    low = _worst_score(x) <= SCORE_LOW
    return np.asarray(low | (column(x, "survey_change") <= SCORE_DROP))


def _dissatisfaction(x: Floats) -> Floats:
    # Points missing to 10, or lost since the survey before, relative to those of a detractor.
    missing = np.fmax(10 - _worst_score(x), -column(x, "survey_change"))
    return 1 + np.log2(np.maximum(missing / (10 - SCORE_LOW), 1))


_RHYTHM: Final = ("silence_beyond_rhythm", "frequency_falling", "new_and_quiet", "seldom_buyer")
"""Silence, frequency and money fade together: where one does not hold, the next is tried."""

REASONS: Final[tuple[ReasonSpec, ...]] = (
    ReasonSpec(
        code="silence_beyond_rhythm",
        meaning="silent for longer than the customer's own usual gap",
        features=(
            "recency_days", "recency_share", "silence_over_gap_mean", "silence_over_gap_median",
            "silence_over_gap_longest", "gaps_outlasting", "own_return_share",
            "purchases_decayed_7", "purchase_days_7", "purchase_days_14",
        ),
        otherwise=_RHYTHM,
        facts=("days_silent", "usual_gap_days", "longest_gap_days"),
        holds=_late,
        points=lambda x: 1 + np.log2(column(x, "silence_over_gap_mean")),
    ),
    ReasonSpec(
        code="frequency_falling",
        meaning="fewer purchase days in the last four weeks than in the four before",
        features=(
            "purchases_decayed_30", "purchases_trend_7_90", "purchases_trend_30_365",
            "purchases_trend_90_365", "purchase_days_28", "purchase_days_56", "gap_last_days",
            "gap_second_last_days", "gap_third_last_days",
        ),
        otherwise=_RHYTHM,
        facts=("purchases_recent", "purchases_before"),
        holds=_fell("purchases_recent", "purchases_before", BEFORE_MIN),
        points=_halvings("purchases_recent", "purchases_before"),
    ),
    ReasonSpec(
        code="interaction_falling",
        meaning="fewer interactions in the last month or so than in the months before",
        features=(
            "interactions", "interaction_recency_days", "interactions_decayed_7",
            "interactions_decayed_30", "interactions_decayed_90", "interactions_decayed_365",
            "interactions_trend_7_90", "interactions_trend_30_365", "campaigns_received",
            "campaigns_redeemed", "campaign_response", "campaign_recency_days",
            "redemption_recency_days", *(feature.name for feature in KINDS),
        ),
        otherwise=(),
        facts=("interactions_recent", "interactions_before"),
        holds=_fell("interactions_recent", "interactions_before", BEFORE_MIN),
        points=_halvings("interactions_recent", "interactions_before"),
    ),
    ReasonSpec(
        code="value_falling",
        meaning="orders are worth less than the customer's usual order",
        features=(
            "spent", "order_value", "order_value_usual", "order_value_variance",
            "order_value_30", "order_value_365", "order_value_trend",
            "amount_decayed_7", "amount_decayed_30", "amount_decayed_90", "amount_decayed_365",
            "amount_trend_30_365", "refunds", "refund_share", "refunded_share", "profit",
            "margin_share",
        ),
        otherwise=_RHYTHM,
        facts=("order_value_recent", "order_value_before"),
        holds=_value_fell,
        # An order for nothing at all counts as four halvings instead of infinitely many.
        points=lambda x: 1 - np.log2(np.maximum(column(x, "order_value_trend"), 1 / 16)),
    ),
    ReasonSpec(
        code="complaint_open",
        meaning="a complaint has not been closed",
        features=("complaints", "complaints_open", "complaint_recency_days"),
        otherwise=(),
        facts=("complaints_open", "days_since_complaint"),
        holds=lambda x: np.asarray(column(x, "complaints_open") > 0),
        points=lambda x: 1 + np.log2(np.maximum(column(x, "complaints_open"), 1)),
        always=True,
    ),
    ReasonSpec(
        code="satisfaction_low",
        meaning="a low or sharply fallen satisfaction score, or a low recommendation intent",
        features=(
            "survey_score", "survey_change", "survey_recency_days", "recommendation_score",
            "recommendation_change", "recommendation_recency_days", "suggestions",
            "referrals", "referral_recency_days",
        ),
        otherwise=(),
        facts=("survey_score", "survey_change", "recommendation_score"),
        holds=_dissatisfied,
        points=_dissatisfaction,
    ),
    ReasonSpec(
        code="contract_ending",
        meaning="a contract is about to end",
        features=("contract_rest_days",),
        otherwise=(),
        facts=("days_to_end",),
        holds=lambda x: np.asarray(column(x, "contract_rest_days") <= NOTICE_DAYS),
        points=_one,
    ),
    ReasonSpec(
        code="points_expiring",
        meaning="most of the loyalty points expire soon, and none is being spent",
        features=tuple(feature.name for feature in POINTS),
        otherwise=(),
        facts=("points_expiring", "days_to_expiry"),
        holds=points_unused,
        points=_one,
    ),
    ReasonSpec(
        code="level_lowered",
        meaning="the loyalty level was lowered",
        features=("level_lowered_days",),
        otherwise=(),
        facts=("days_since_lowered",),
        holds=level_fell,
        points=_one,
    ),
    ReasonSpec(
        code="new_and_quiet",
        meaning="new, and not back within a week of the first purchase",
        features=("tenure_days",),
        otherwise=("seldom_buyer",),
        facts=("days_silent", "purchase_days"),
        holds=_new_and_quiet,
        points=lambda x: column(x, "recency_days") / (column(x, "recency_days") + SELDOM_DAYS),
    ),
    ReasonSpec(
        code="seldom_buyer",
        meaning="buys seldom, or has hardly bought yet",
        features=(
            "purchases", "purchase_days", "purchases_decayed_90", "purchases_decayed_365",
            "gap_mean_days", "gap_median_days", "gap_std_days", "gap_variation",
            "gap_longest_days", "gap_recent_days", "gap_season_days",
            "purchase_days_91", "purchase_days_182", "purchase_days_364",
            "weekday_share", "time_of_week_share", "weekend_share", "season_days_28",
            "season_days_91", "categories", "favourite_category_share", "online_share",
            "offline_share",
        ),
        otherwise=_RHYTHM,
        facts=("purchase_days", "days_since_first", "usual_gap_days", "days_silent"),
        holds=_seldom,
        points=lambda x: 1 - SELDOM_DAYS / (SELDOM_DAYS + expected_gap_days(x)),
    ),
)  # fmt: skip
REASON_INDEX: Final = {spec.code: at for at, spec in enumerate(REASONS)}
"""Position of each code in `REASONS`."""
