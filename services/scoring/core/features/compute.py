"""Computes the matrix X, which the model reads, from customer states.

This is the only implementation of the features that `registry` describes. Streaming, replay,
training and backfill all call it, so that training and serving use the same features.
It never reads a clock: `now` is an argument, per customer. NaN means "not defined for this
customer" (LightGBM handles it); a value is otherwise finite.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features import registry
from services.scoring.core.features.bitmap import NO_DAY, day_of, unpack
from services.scoring.core.features.contracts import running
from services.scoring.core.features.events import (
    DAY_S,
    ENGAGED,
    Channel,
    Kind,
)
from services.scoring.core.features.gaps import gap_statistics
from services.scoring.core.features.interaction_kinds import kinds_faded_to, with_kinds
from services.scoring.core.features.loyalty import (
    LONG,
    SHORT,
    balance,
    expiring,
    memories,
    with_points,
)
from services.scoring.core.features.registry import (
    FEATURES,
    RETURN_DAYS,
    SEASON_DAYS,
    WINDOWS_DAYS,
    YEAR_DAYS,
    feature_index,
)
from services.scoring.core.features.state import (
    DAY_PARTS,
    HALF_LIVES_DAYS,
    INTERACTION_LIVES_DAYS,
    MEASURES,
    POINTS_LIVES_DAYS,
    take,
)
from shared.kernel.arrays import Floats, Ints

__all__ = ["FEATURES", "feature_index", "features"]

States = NDArray[np.void]

_LIVES: Final = np.array(HALF_LIVES_DAYS, np.float64)
_LIFE: Final = {life: column for column, life in enumerate(HALF_LIVES_DAYS)}
_MEASURE: Final = {measure: row for row, measure in enumerate(MEASURES)}

VANISHED: Final = 1e-12
"""A decayed count below this (40 half-lives after one event) is too small for a ratio."""

_BUCKET: Final = np.searchsorted(WINDOWS_DAYS, np.arange(WINDOWS_DAYS[-1] + 2), side="left")
"""Window number by age in whole days: 0 for today .. len(WINDOWS_DAYS) for older than all."""


def features(states: States, now: Floats) -> Floats:
    """Return X, float64[n, F], columns as in `FEATURES`; `now`: float64[n], Unix seconds UTC."""
    x = np.empty((len(FEATURES), len(states)))
    last, counts = states["last"], states["counts"]
    with np.errstate(divide="ignore", invalid="ignore"):
        _lifetime(x, states, last, counts, now)
        _decayed(x, states, now)
        _days(x, states, last, now)
        _habits(x, states)
        _voice(x, states, last, counts, now)
        _marketing(x, last, counts, now)
        _contract(x, states, now)
        _loyalty(x, states, last, counts, now)
        _kinds(x, states, now)
    return np.ascontiguousarray(x.T)


def _row(name: str) -> int:
    return feature_index[name]


def _since(time: Floats, now: Floats) -> Floats:
    """Days from `time` to `now`, at least 0; NaN where `time` is infinite (never)."""
    days = np.maximum(now - time, 0.0) / DAY_S
    return np.where(np.isfinite(time), days, np.nan)


def _where_positive(values: Floats | Ints) -> Floats:
    return np.where(values > 0, values, np.nan)


def _lifetime(x: Floats, states: States, last: Floats, counts: Floats, now: Floats) -> None:
    purchases = counts[:, Kind.PURCHASE - 1]
    refunds = counts[:, Kind.REFUND - 1]
    recency = _since(last[:, Kind.PURCHASE - 1], now)
    tenure = _since(states["first_purchase"], now)
    x[_row("recency_days")] = recency
    x[_row("tenure_days")] = tenure
    x[_row("recency_share")] = recency / _where_positive(tenure)
    x[_row("purchases")] = purchases
    x[_row("spent")] = states["spent"]
    x[_row("order_value")] = states["spent"] / _where_positive(states["priced"])
    counted = _where_positive(states["priced"])
    level = states["log_amount"] / counted
    variance = np.maximum(states["log_amount_squared"] / counted - level * level, 0.0)
    x[_row("order_value_usual")] = np.exp(level)
    x[_row("order_value_variance")] = variance
    x[_row("refunds")] = refunds
    x[_row("refund_share")] = refunds / _where_positive(purchases)
    x[_row("refunded_share")] = states["refunded"] / _where_positive(states["spent"])
    profit = states["costed"] - states["cost"]
    x[_row("profit")] = np.where((states["costed"] > 0) | (states["cost"] > 0), profit, np.nan)
    x[_row("margin_share")] = profit / _where_positive(states["costed"])


def _decayed(x: Floats, states: States, now: Floats) -> None:
    age = _since(states["ref"], now)
    # Without events the sums are 0 and stay 0, whatever finite age is used.
    fade = np.exp2(-np.nan_to_num(age)[:, None] / _LIVES)
    sums = states["decayed"] * fade[:, None, :]
    by_measure = {measure: sums[:, row].T for measure, row in _MEASURE.items()}
    for measure in ("purchases", "amount", "interactions"):
        start = _row(f"{measure}_decayed_{HALF_LIVES_DAYS[0]}")
        x[start : start + len(_LIVES)] = by_measure[measure]
    counted_by = {"purchases": "purchases", "amount": "priced", "interactions": "interactions"}
    for measure, pairs in (
        ("purchases", registry.PURCHASE_TRENDS),
        ("amount", registry.AMOUNT_TRENDS),
        ("interactions", registry.INTERACTION_TRENDS),
    ):
        total, count = by_measure[measure], by_measure[counted_by[measure]]
        for short, long in pairs:
            x[_row(f"{measure}_trend_{short}_{long}")] = np.where(
                (count[_LIFE[long]] > VANISHED) & (total[_LIFE[long]] > 0),
                total[_LIFE[short]] / total[_LIFE[long]] * (long / short),
                np.nan,
            )
    levels = []
    for life in registry.ORDER_VALUE_LIVES:
        amount, priced = by_measure["amount"][_LIFE[life]], by_measure["priced"][_LIFE[life]]
        levels.append(np.where(priced > VANISHED, amount / priced, np.nan))
        x[_row(f"order_value_{life}")] = levels[-1]
    x[_row("order_value_trend")] = levels[0] / _where_positive(levels[1])


def _days(x: Floats, states: States, last: Floats, now: Floats) -> None:
    n = len(states)
    today = day_of(now)
    last_day = day_of(last[:, Kind.PURCHASE - 1])
    bought = last_day > NO_DAY
    row, day = unpack(states["days"], last_day)
    days = np.bincount(row, minlength=n).astype(np.int64)
    x[_row("purchase_days")] = days

    silence = np.where(bought, np.maximum(today - last_day, 0), 0)
    gaps = gap_statistics(n, row, day, silence, RETURN_DAYS, YEAR_DAYS)
    recency = x[_row("recency_days")]
    x[_row("gap_mean_days")] = gaps.mean
    x[_row("gap_median_days")] = gaps.median
    x[_row("gap_std_days")] = gaps.std
    x[_row("gap_variation")] = gaps.std / gaps.mean
    x[_row("gap_longest_days")] = gaps.longest
    x[_row("gap_recent_days")] = gaps.recent
    x[_row("gap_season_days")] = gaps.season
    start = _row("gap_last_days")
    x[start : start + 3] = gaps.newest.T
    x[_row("silence_over_gap_mean")] = recency / gaps.mean
    x[_row("silence_over_gap_median")] = recency / gaps.median
    x[_row("silence_over_gap_longest")] = recency / gaps.longest
    x[_row("gaps_outlasting")] = gaps.outlasting
    x[_row("own_return_share")] = gaps.return_share

    age = np.clip(today[row] - day, 0, len(_BUCKET) - 1)
    buckets = len(WINDOWS_DAYS) + 1
    binned = np.bincount(row * buckets + _BUCKET[age], minlength=n * buckets)
    start = _row(f"purchase_days_{WINDOWS_DAYS[0]}")
    x[start : start + len(WINDOWS_DAYS)] = np.cumsum(binned.reshape(n, buckets)[:, :-1], axis=1).T
    weekdays = np.bincount(row * 7 + day % 7, minlength=n * 7).reshape(n, 7)
    x[_row("weekday_share")] = weekdays.max(axis=1, initial=0) / _where_positive(days)

    ahead = day - (today - YEAR_DAYS)[row]
    known = x[_row("tenure_days")] >= YEAR_DAYS
    for window in SEASON_DAYS:
        then = np.bincount(row[(ahead > 0) & (ahead <= window)], minlength=n)
        x[_row(f"season_days_{window}")] = np.where(known, then, np.nan)


def _habits(x: Floats, states: States) -> None:
    week = states["week"].astype(np.float64)
    total = _where_positive(week.sum(axis=1))
    x[_row("time_of_week_share")] = week.max(axis=1, initial=0) / total
    # 1970-01-01, day 0 of the grid, was a Thursday: 2 and 3 are Saturday and Sunday.
    weekend = slice(2 * DAY_PARTS, 4 * DAY_PARTS)
    x[_row("weekend_share")] = week[:, weekend].sum(axis=1) / total
    categories = states["categories"].astype(np.float64)
    named = categories.sum(axis=1)
    x[_row("categories")] = named**2 / _where_positive((categories**2).sum(axis=1))
    x[_row("favourite_category_share")] = categories.max(axis=1, initial=0) / _where_positive(named)
    channels = states["channels"]
    placed = _where_positive(channels.sum(axis=1))
    x[_row("online_share")] = channels[:, Channel.ONLINE - 1] / placed
    x[_row("offline_share")] = channels[:, Channel.OFFLINE - 1] / placed


def _voice(x: Floats, states: States, last: Floats, counts: Floats, now: Floats) -> None:
    opened = counts[:, Kind.COMPLAINT_OPENED - 1]
    engaged = [kind - 1 for kind in ENGAGED]
    x[_row("interactions")] = counts[:, engaged].sum(axis=1)
    x[_row("interaction_recency_days")] = _since(last[:, engaged].max(axis=1, initial=-np.inf), now)
    x[_row("complaints")] = opened
    x[_row("complaints_open")] = np.maximum(opened - counts[:, Kind.COMPLAINT_CLOSED - 1], 0)
    x[_row("complaint_recency_days")] = _since(last[:, Kind.COMPLAINT_OPENED - 1], now)
    scores = states["survey_score"]
    x[_row("survey_score")] = scores[:, 0]
    x[_row("survey_change")] = scores[:, 0] - scores[:, 1]
    x[_row("survey_recency_days")] = _since(states["survey_time"][:, 0], now)
    intent = states["recommendation_score"]
    x[_row("recommendation_score")] = intent[:, 0]
    x[_row("recommendation_change")] = intent[:, 0] - intent[:, 1]
    x[_row("recommendation_recency_days")] = _since(states["recommendation_time"][:, 0], now)
    x[_row("suggestions")] = counts[:, Kind.SUGGESTION - 1]


def _contract(x: Floats, states: States, now: Floats) -> None:
    known = running(states) & np.isfinite(states["contract_until"])
    rest = np.maximum(states["contract_until"] - now, 0.0) / DAY_S
    x[_row("contract_rest_days")] = np.where(known, rest, np.nan)


def _loyalty(x: Floats, states: States, last: Floats, counts: Floats, now: Floats) -> None:
    fell, rose = last[:, Kind.LEVEL_LOWERED - 1], last[:, Kind.LEVEL_RAISED - 1]
    x[_row("level_lowered_days")] = np.where(fell > rose, _since(fell, now), np.nan)
    x[_row("referrals")] = counts[:, Kind.REFERRAL - 1]
    x[_row("referral_recency_days")] = _since(last[:, Kind.REFERRAL - 1], now)
    names = registry.POINTS
    start = _row(names[0].name)
    about = x[start : start + len(names)]
    about[:] = np.nan
    some = np.flatnonzero(with_points(states))
    if not len(some):
        return
    held, now = take(states, some), now[some]
    earned, spent = memories(held, now)
    points, days = expiring(held, now)
    found = {
        "points_balance": balance(held),
        "points_earned_decayed_90": earned[:, SHORT],
        "points_spent_decayed_90": spent[:, SHORT],
        "points_earned_trend_90_365": _trend(earned),
        "points_spent_trend_90_365": _trend(spent),
        "points_spent_recency_days": _since(held["last"][:, Kind.POINTS_SPENT - 1], now),
        "points_used_share": held["points"][:, 1] / _where_positive(held["points"][:, 0]),
        "points_expiring": points,
        "points_expiry_days": days,
    }
    about[:, some] = np.stack([found[feature.name] for feature in names])


def _kinds(x: Floats, states: States, now: Floats) -> None:
    start = _row(registry.KINDS[0].name)
    about = x[start : start + len(registry.KINDS)]
    about[:] = np.nan
    some = np.flatnonzero(with_kinds(states, now))
    if len(some):
        short, long = kinds_faded_to(take(states, some), now[some]).transpose(2, 1, 0)
        lives = INTERACTION_LIVES_DAYS[1] / INTERACTION_LIVES_DAYS[0]
        about[0::2, some] = short
        about[1::2, some] = np.where(long > VANISHED, short / long * lives, np.nan)


def _trend(memory: Floats) -> Floats:
    short, long = memory[:, SHORT], memory[:, LONG]
    ratio = short / long * (POINTS_LIVES_DAYS[LONG] / POINTS_LIVES_DAYS[SHORT])
    return np.where(long > VANISHED, ratio, np.nan)


def _marketing(x: Floats, last: Floats, counts: Floats, now: Floats) -> None:
    received = counts[:, Kind.CAMPAIGN_RECEIVED - 1]
    redeemed = counts[:, Kind.CAMPAIGN_REDEEMED - 1]
    x[_row("campaigns_received")] = received
    x[_row("campaigns_redeemed")] = redeemed
    x[_row("campaign_response")] = redeemed / _where_positive(received)
    x[_row("campaign_recency_days")] = _since(last[:, Kind.CAMPAIGN_RECEIVED - 1], now)
    x[_row("redemption_recency_days")] = _since(last[:, Kind.CAMPAIGN_REDEEMED - 1], now)
