"""The registry of features: name, meaning, unit, formula and source of each.

It fixes the order of the columns of X, and the words that the model, the API, the documentation
table and the reasons use for them. It computes nothing (`compute.features` does).

Conventions: days are 86,400 s in UTC; *today* is the UTC day of `now`; a purchase day is a
UTC day with at least one purchase (same-day purchases are one occasion, as in the BTYD
literature); D_h(m) is the sum over events of m x 2^(-age / h), age in days, h the half-life.
`monotone` is +1 where more of it can only raise the risk, -1 where it can only lower it,
and 0 where the domain gives no direction.
"""

from dataclasses import dataclass
from typing import Final, Literal

from services.scoring.core.features.gaps import RECENT_GAPS, SEASON_TOLERANCE_DAYS
from services.scoring.core.features.interaction_kinds import CLASSES
from services.scoring.core.features.state import (
    AMOUNT_MIN,
    CATEGORY_BUCKETS,
    HALF_LIVES_DAYS,
    INTERACTION_LIVES_DAYS,
)
from shared.kernel.arrays import Floats

WINDOWS_DAYS: Final = (7, 14, 28, 56, 91, 182, 364)
"""Calendar windows in whole weeks, so that each contains every weekday equally often."""

RETURN_DAYS: Final = 28
"""Horizon of the own-rhythm feature: four weeks, like the owner's month in the reasons."""

YEAR_DAYS: Final = 364
"""A year in whole weeks, so that a weekday is compared with itself."""
SEASON_DAYS: Final = (28, 91)
"""Windows counted from this day a year ago: an owner's month and a season."""

PURCHASE_TRENDS: Final = ((7, 90), (30, 365), (90, 365))
AMOUNT_TRENDS: Final = ((30, 365),)
INTERACTION_TRENDS: Final = ((7, 90), (30, 365))
ORDER_VALUE_LIVES: Final = (30, 365)

_EVENTS: Final = "purchase events"
_DAYS: Final = "purchase-day bitmap"
_ENGAGED: Final = "interaction and redemption events"
_KINDS: Final = "interaction events, by their `kind`"
_VOICE: Final = "feedback events"
_CAMPAIGNS: Final = "campaign events"
_POINTS: Final = "loyalty events about points"
_LEVELS: Final = "loyalty events about levels"
_REFERRALS: Final = "referral events"

Monotone = Literal[-1, 0, 1]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of X."""

    name: str
    meaning: str
    unit: str
    formula: str
    source: str
    monotone: Monotone = 0


def _lifetime() -> tuple[Feature, ...]:
    return (
        Feature("recency_days", "silence: time since the last purchase", "days",
                "max(0, now - last purchase)", _EVENTS, 1),
        Feature("tenure_days", "time since the first purchase", "days",
                "max(0, now - first purchase)", _EVENTS),
        Feature("recency_share", "how much of the relationship is the current silence", "share",
                "recency_days / tenure_days; NaN where tenure is 0", _EVENTS),
        Feature("purchases", "purchases ever", "count", "count", _EVENTS),
        Feature("purchase_days", "days with a purchase", "days",
                "bits set (the last 2,560 days up to the newest purchase)", _DAYS),
    )  # fmt: skip


def _money() -> tuple[Feature, ...]:
    return (
        Feature("spent", "money spent ever", "reporting currency", "sum of amounts", _EVENTS),
        Feature("order_value", "mean value of an order, ever", "reporting currency",
                "spent / purchases with an amount; NaN without", _EVENTS),
        Feature("order_value_usual", "usual value of an order: geometric mean, which one large "
                "order hardly moves", "reporting currency", f"exp(mean of ln(amount, at least "
                f"{AMOUNT_MIN})) over priced purchases; NaN without", _EVENTS),
        Feature("order_value_variance", "how much the value of orders varies", "log units squared",
                "population variance of the same logarithms; NaN without", _EVENTS),
        Feature("refunds", "refunds and cancellations ever", "count", "count", "refund events"),
        Feature("refund_share", "refunds per purchase", "ratio",
                "refunds / purchases; NaN without purchases", "purchase and refund events"),
        Feature("refunded_share", "share of the money that went back", "ratio",
                "refunded / spent; NaN where nothing was spent", "purchase and refund events"),
    )  # fmt: skip


def _profit() -> tuple[Feature, ...]:
    return (
        Feature("profit", "money earned ever, where costs are told", "reporting currency",
                "sum of amount - cost over purchases with both; NaN without", _EVENTS),
        Feature("margin_share", "share of the money that is earned", "share",
                "profit / their amounts; NaN where these are 0", _EVENTS),
    )  # fmt: skip


def _decayed() -> tuple[Feature, ...]:
    rows = (
        ("purchases", "recent purchases, fading", "count", "purchase", _EVENTS),
        ("amount", "recent spending, fading", "reporting currency", "amount", _EVENTS),
        ("interactions", "recent interactions, fading", "count", "interaction", _ENGAGED),
    )
    return tuple(
        Feature(
            f"{name}_decayed_{life}",
            f"{meaning} by half in {life} days",
            unit,
            f"D_{life}({of})",
            source,
        )
        for name, meaning, unit, of, source in rows
        for life in HALF_LIVES_DAYS
    )


def _trends() -> tuple[Feature, ...]:
    rows = (
        ("purchases", "purchase rate", PURCHASE_TRENDS, _EVENTS),
        ("amount", "spending rate", AMOUNT_TRENDS, _EVENTS),
        ("interactions", "interaction rate", INTERACTION_TRENDS, _ENGAGED),
    )
    trends = tuple(
        Feature(f"{name}_trend_{short}_{long}", f"{what}, short against long memory", "ratio",
                f"(D_{short} / {short}) / (D_{long} / {long}); NaN where D_{long} vanished", source)
        for name, what, pairs, source in rows
        for short, long in pairs
    )  # fmt: skip
    levels = tuple(
        Feature(
            f"order_value_{life}",
            f"mean value of an order, memory {life} days",
            "reporting currency",
            f"D_{life}(amount) / D_{life}(purchase with an amount)",
            _EVENTS,
        )
        for life in ORDER_VALUE_LIVES
    )
    short, long = ORDER_VALUE_LIVES
    return (
        *trends,
        *levels,
        Feature(
            "order_value_trend",
            "value of an order, short against long memory",
            "ratio",
            f"order_value_{short} / order_value_{long}",
            _EVENTS,
        ),
    )


def _gaps() -> tuple[Feature, ...]:
    return (
        Feature("gap_mean_days", "usual gap: mean days from one purchase day to the next", "days",
                "(newest - oldest purchase day) / (purchase_days - 1); NaN below two", _DAYS),
        Feature("gap_median_days", "median gap", "days", "median of the gaps", _DAYS),
        Feature("gap_std_days", "spread of the gaps", "days",
                "population standard deviation of the gaps; NaN without gaps", _DAYS),
        Feature("gap_variation", "irregularity of the rhythm", "ratio",
                "gap_std_days / gap_mean_days", _DAYS),
        Feature("gap_longest_days", "longest gap so far", "days", "max of the gaps", _DAYS),
        Feature("gap_recent_days", "usual gap of today", "days",
                f"mean of the last {RECENT_GAPS} gaps, or of as many as there are", _DAYS),
        Feature("gap_season_days", "season: longest gap at this time a year ago", "days",
                f"longest gap that began at most {SEASON_TOLERANCE_DAYS} days from "
                f"{YEAR_DAYS} days before the newest purchase day; NaN without one", _DAYS),
        Feature("gap_last_days", "the newest gap", "days", "newest - one before", _DAYS),
        Feature("gap_second_last_days", "the gap before it", "days", "as named", _DAYS),
        Feature("gap_third_last_days", "the gap before that", "days", "as named", _DAYS),
        Feature("silence_over_gap_mean", "silence in usual gaps", "ratio",
                "recency_days / gap_mean_days", _DAYS, 1),
        Feature("silence_over_gap_median", "silence in median gaps", "ratio",
                "recency_days / gap_median_days", _DAYS, 1),
        Feature("silence_over_gap_longest", "silence in longest gaps", "ratio",
                "recency_days / gap_longest_days", _DAYS, 1),
        Feature("gaps_outlasting", "own gaps at least as long as the silence", "count",
                "gaps >= today - newest purchase day", _DAYS),
        Feature("own_return_share", f"own rhythm: how often such a silence ended within "
                f"{RETURN_DAYS} days", "share",
                f"(gaps in [s, s + {RETURN_DAYS})) / (gaps >= s), s = today - newest purchase "
                "day; NaN where no gap was that long", _DAYS, -1),
    )  # fmt: skip


def _calendar() -> tuple[Feature, ...]:
    windows = tuple(
        Feature(
            f"purchase_days_{window}",
            f"purchase days in the last {window} whole days, and today",
            "days",
            f"purchase days in [today - {window}, today]",
            _DAYS,
        )
        for window in WINDOWS_DAYS
    )
    return (
        *windows,
        Feature(
            "weekday_share",
            "regularity in the week: share of the most usual weekday",
            "share",
            "max over weekdays of purchase days / purchase_days",
            _DAYS,
        ),
        *(
            Feature(
                f"season_days_{window}",
                f"season: purchase days in the {window} days that followed this day a year ago",
                "days",
                f"purchase days in (today - {YEAR_DAYS}, today - {YEAR_DAYS} + {window}]; NaN "
                "where tenure_days is below a year",
                _DAYS,
            )
            for window in SEASON_DAYS
        ),
    )


def _habits() -> tuple[Feature, ...]:
    return (
        Feature("time_of_week_share", "regularity in the week: share of the most usual quarter "
                "of a day", "share",
                "max over 7 x 4 (UTC weekday, six hours) of purchases / purchases", _EVENTS),
        Feature("weekend_share", "purchases on Saturdays and Sundays", "share",
                "purchases on a UTC weekend / purchases", _EVENTS),
        Feature("categories", "diversity: how many categories, evenly used, would look alike",
                "count", f"1 / sum of squared shares (inverse Simpson) over {CATEGORY_BUCKETS} "
                "hash buckets of the category; NaN without a category", _EVENTS),
        Feature("favourite_category_share", "share of the favourite category", "share",
                f"fullest of {CATEGORY_BUCKETS} hash buckets / purchases with a category", _EVENTS),
        Feature("online_share", "purchases made online", "share",
                "purchases with an online channel / purchases with a channel", _EVENTS),
        Feature("offline_share", "purchases made in a shop", "share",
                "purchases with an offline channel / purchases with a channel", _EVENTS),
    )  # fmt: skip


def _voice() -> tuple[Feature, ...]:
    return (
        Feature("interactions", "interactions ever", "count", "count", _ENGAGED),
        Feature("interaction_recency_days", "time since the last interaction", "days",
                "max(0, now - last interaction)", _ENGAGED),
        Feature("complaints", "complaints ever", "count", "complaints opened", _VOICE),
        Feature("complaints_open", "complaints not yet closed", "count",
                "max(0, opened - closed)", _VOICE),
        Feature("complaint_recency_days", "time since the last complaint", "days",
                "max(0, now - last complaint opened)", _VOICE),
        Feature("survey_score", "last satisfaction score", "0-10",
                "newest scored survey by (time, key)", _VOICE),
        Feature("survey_change", "change of satisfaction", "points",
                "newest - the one before; NaN below two", _VOICE),
        Feature("survey_recency_days", "time since the last scored survey", "days",
                "max(0, now - newest scored survey)", _VOICE),
        Feature("recommendation_score", "last recommendation intent", "0-10",
                "newest scored recommendation by (time, key)", _VOICE),
        Feature("recommendation_change", "change of recommendation intent", "points",
                "newest - the one before; NaN below two", _VOICE),
        Feature("recommendation_recency_days", "time since the last scored recommendation", "days",
                "max(0, now - newest scored recommendation)", _VOICE),
        Feature("suggestions", "suggestions ever", "count", "count", _VOICE),
    )  # fmt: skip


def _marketing() -> tuple[Feature, ...]:
    return (
        Feature("campaigns_received", "campaigns and coupons sent to the customer", "count",
                "count", _CAMPAIGNS),
        Feature("campaigns_redeemed", "campaigns and coupons that the customer used", "count",
                "count", _CAMPAIGNS),
        Feature("campaign_response", "marketing response: uses per campaign", "ratio",
                "campaigns_redeemed / campaigns_received; NaN without one", _CAMPAIGNS),
        Feature("campaign_recency_days", "time since the last campaign", "days",
                "max(0, now - last campaign received)", _CAMPAIGNS),
        Feature("redemption_recency_days", "time since the customer last used one", "days",
                "max(0, now - last redemption)", _CAMPAIGNS),
    )  # fmt: skip


def _contract() -> tuple[Feature, ...]:
    return (
        Feature("contract_rest_days", "time until the contract ends unless it is renewed", "days",
                "max(0, latest known end - now); NaN unless a contract runs whose end is known",
                "contract events"),
    )  # fmt: skip


POINTS: Final[tuple[Feature, ...]] = (
    Feature("points_balance", "loyalty points in the account", "points",
            "newest balance reported; where none was, max(0, earned - spent - expired); NaN "
            "where neither is known", _POINTS),
    Feature("points_earned_decayed_90", "points earned lately, fading by half in 90 days", "points",
            "D_90(points earned)", _POINTS),
    Feature("points_spent_decayed_90", "points spent lately, fading by half in 90 days", "points",
            "D_90(points spent)", _POINTS),
    Feature("points_earned_trend_90_365", "rate of earning, short against long memory", "ratio",
            "(D_90 / 90) / (D_365 / 365); NaN where D_365 vanished", _POINTS),
    Feature("points_spent_trend_90_365", "rate of spending, short against long memory", "ratio",
            "(D_90 / 90) / (D_365 / 365); NaN where D_365 vanished", _POINTS),
    Feature("points_spent_recency_days", "time since points were last spent", "days",
            "max(0, now - last points spent)", _POINTS),
    Feature("points_used_share", "how much of the points earned was spent", "share",
            "points spent / points earned; NaN where none were earned", _POINTS),
    Feature("points_expiring", "points that expire unless they are spent", "points",
            "points of the newest report, at most the newest balance; 0 after their last day; NaN "
            "without a report", _POINTS),
    Feature("points_expiry_days", "time until they expire", "days",
            "end of their last day (UTC) - now; NaN where no points expire", _POINTS),
)  # fmt: skip
"""The features of customers with points, in the order of their columns."""


def _loyalty() -> tuple[Feature, ...]:
    return (
        Feature("level_lowered_days", "time since the loyalty level was lowered", "days",
                "now - last lowering; NaN unless it is the newest change of the level", _LEVELS),
        *POINTS,
        Feature("referrals", "customers brought ever", "count", "count", _REFERRALS),
        Feature("referral_recency_days", "time since the customer last brought one", "days",
                "max(0, now - last referral)", _REFERRALS),
    )  # fmt: skip


def _kinds() -> tuple[Feature, ...]:
    short, long = INTERACTION_LIVES_DAYS
    return tuple(
        feature
        for name in CLASSES
        for feature in (
            Feature(f"{name}_decayed_{short}", f"recent {_spoken(name)}, fading by half in {short} "
                    "days", "count", f"D_{short}(interaction of the class); NaN without "
                    "interactions or where their kinds are not known", _KINDS),
            Feature(f"{name}_trend_{short}_{long}", f"rate of {_spoken(name)}, short against long "
                    "memory", "ratio", f"(D_{short} / {short}) / (D_{long} / {long}); NaN where "
                    f"D_{long} vanished", _KINDS),
        )
    )  # fmt: skip


def _spoken(name: str) -> str:
    what, _, number = name.rpartition("_")
    if what:
        return f"interactions of other kinds, those with hash {number}"
    return {"carts": "carts filled", "contacts": "contacts with the service"}.get(name, name)


KINDS: Final = _kinds()
"""The features of interactions by kind, in the order of their columns."""

FEATURES: Final[tuple[Feature, ...]] = (
    *_lifetime(), *_money(), *_profit(), *_decayed(), *_trends(), *_gaps(), *_calendar(),
    *_habits(), *_voice(), *_marketing(), *_contract(), *_loyalty(), *KINDS,
)  # fmt: skip
"""New features come last: a model reads the first columns, as many as it was trained on."""
feature_index: Final[dict[str, int]] = {feature.name: at for at, feature in enumerate(FEATURES)}
"""Column of X by feature name."""


def column(x: Floats, name: str) -> Floats:
    """Return one feature of every customer, float64[n]."""
    return x[:, feature_index[name]]


def are_first(names: list[str]) -> bool:
    """Return whether these are the first of `FEATURES` in order: what an older model reads."""
    return bool(names) and names == [feature.name for feature in FEATURES[: len(names)]]
