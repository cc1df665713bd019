"""An independent, slow reference of the features: DuckDB SQL over an event table.

It shares no arithmetic with the kernel: no state, no bitmap, no reference time. Each customer's
features come from the raw events, at one `now` per customer.
"""

from dataclasses import fields

import duckdb
import numpy as np

from services.scoring.core.features.events import EventColumns
from shared.kernel.arrays import Floats

LIVES = (7, 30, 90, 365)
CLASSES = (
    "views", "carts", "favourites", "logins", "contacts", "other_interactions_1",
    "other_interactions_2", "other_interactions_3",
)  # fmt: skip
WINDOWS = (7, 14, 28, 56, 91, 182, 364)
RING_DAYS = 2_560
VANISHED = 1e-12

COUNTED = (
    "purchases", "purchase_days", "spent", "refunds", "interactions", "complaints",
    "complaints_open", "suggestions", "gaps_outlasting", "campaigns_received",
    "campaigns_redeemed", "referrals",
    *(f"purchase_days_{window}" for window in WINDOWS),
    *(f"{name}_decayed_{life}" for name in ("purchases", "amount", "interactions")
      for life in LIVES),
)  # fmt: skip
"""The features that are 0, not unknown, for a customer without such events."""

_BASE = f"""
CREATE TABLE nows AS SELECT * FROM given_nows;
CREATE TABLE events AS SELECT * REPLACE (
    CASE WHEN isnan(amount) THEN NULL ELSE amount END AS amount,
    CASE WHEN isnan(until) THEN NULL ELSE until END AS until,
    CASE WHEN isnan(score) THEN NULL ELSE score END AS score,
    CASE WHEN isnan(cost) THEN NULL ELSE cost END AS cost) FROM given;
CREATE TABLE seen AS
    SELECT e.*, n.now, (n.now - e.time) / 86400 AS age FROM events e JOIN nows n USING (row);
CREATE TABLE every_day AS
    SELECT DISTINCT row, now, CAST(floor(time / 86400) AS BIGINT) AS day FROM seen WHERE kind = 1;
CREATE TABLE days AS
    SELECT * FROM every_day
    QUALIFY day > max(day) OVER (PARTITION BY row) - {RING_DAYS};
CREATE TABLE gaps AS
    SELECT row, day, gap, silence, day - gap AS start, max(day) OVER (PARTITION BY row) AS newest,
           row_number() OVER (PARTITION BY row ORDER BY day DESC) AS back
    FROM (
        SELECT row, day, day - lag(day) OVER (PARTITION BY row ORDER BY day) AS gap,
               CAST(floor(now / 86400) AS BIGINT) - max(day) OVER (PARTITION BY row) AS silence
        FROM days
    ) WHERE gap IS NOT NULL;
"""  # noqa: S608 (a number of ours)

_LIFETIME = """
SELECT row,
    min(age) FILTER (kind = 1) AS recency_days,
    max(age) FILTER (kind = 1) AS tenure_days,
    recency_days / nullif(tenure_days, 0) AS recency_share,
    count(*) FILTER (kind = 1) AS purchases,
    coalesce(sum(amount) FILTER (kind = 1), 0) AS spent,
    avg(amount) FILTER (kind = 1) AS order_value,
    exp(avg(ln(greatest(amount, 0.01))) FILTER (kind = 1 AND amount IS NOT NULL))
        AS order_value_usual,
    var_pop(ln(greatest(amount, 0.01))) FILTER (kind = 1 AND amount IS NOT NULL)
        AS order_value_variance,
    count(*) FILTER (kind = 2) AS refunds,
    refunds / nullif(purchases, 0) AS refund_share,
    coalesce(sum(amount) FILTER (kind = 2), 0) / nullif(spent, 0) AS refunded_share,
    sum(amount - cost) FILTER (kind = 1) AS profit,
    profit / nullif(sum(amount) FILTER (kind = 1 AND cost IS NOT NULL), 0) AS margin_share,
    count(*) FILTER (kind = 9) AS campaigns_received,
    count(*) FILTER (kind = 10) AS campaigns_redeemed,
    campaigns_redeemed / nullif(campaigns_received, 0) AS campaign_response,
    min(age) FILTER (kind = 9) AS campaign_recency_days,
    min(age) FILTER (kind = 10) AS redemption_recency_days,
    CASE WHEN max(time) FILTER (kind = 11) >= coalesce(max(time) FILTER (kind = 12), -1e300)
         THEN greatest(max(until) FILTER (kind = 11) - max(now), 0) / 86400 END
        AS contract_rest_days,
    count(*) FILTER (kind = 1 AND channel = 1)
        / nullif(count(*) FILTER (kind = 1 AND channel > 0), 0) AS online_share,
    count(*) FILTER (kind = 1 AND channel = 2)
        / nullif(count(*) FILTER (kind = 1 AND channel > 0), 0) AS offline_share,
    count(*) FILTER (kind = 1 AND isodow(make_timestamp(CAST(floor(time * 1e6) AS BIGINT))) >= 6)
        / nullif(purchases, 0) AS weekend_share,
    count(*) FILTER (kind IN (3, 10)) AS interactions,
    min(age) FILTER (kind IN (3, 10)) AS interaction_recency_days,
    count(*) FILTER (kind = 4) AS complaints,
    greatest(complaints - count(*) FILTER (kind = 5), 0) AS complaints_open,
    min(age) FILTER (kind = 4) AS complaint_recency_days,
    min(age) FILTER (kind = 6 AND score IS NOT NULL) AS survey_recency_days,
    min(age) FILTER (kind = 7 AND score IS NOT NULL) AS recommendation_recency_days,
    CASE WHEN max(time) FILTER (kind = 18) > coalesce(max(time) FILTER (kind = 17), -1e300)
         THEN min(age) FILTER (kind = 18) END AS level_lowered_days,
    count(*) FILTER (kind = 19) AS referrals,
    min(age) FILTER (kind = 19) AS referral_recency_days,
    count(*) FILTER (kind = 8) AS suggestions
FROM seen GROUP BY row
"""

_SCORES = """
SELECT row,
    max(score) FILTER (kind = 6 AND back = 1) AS survey_score,
    survey_score - max(score) FILTER (kind = 6 AND back = 2) AS survey_change,
    max(score) FILTER (kind = 7 AND back = 1) AS recommendation_score,
    recommendation_score - max(score) FILTER (kind = 7 AND back = 2) AS recommendation_change
FROM (
    SELECT row, kind, score,
           row_number() OVER (PARTITION BY row, kind ORDER BY time DESC, key DESC) AS back
    FROM seen WHERE kind IN (6, 7) AND score IS NOT NULL
) GROUP BY row
"""

_GAPS = """
SELECT row, avg(gap) AS gap_mean_days, median(gap) AS gap_median_days,
    stddev_pop(gap) AS gap_std_days, gap_std_days / gap_mean_days AS gap_variation,
    max(gap) AS gap_longest_days,
    avg(gap) FILTER (back <= 12) AS gap_recent_days,
    max(gap) FILTER (abs(start - (newest - 364)) <= 28) AS gap_season_days,
    max(gap) FILTER (back = 1) AS gap_last_days,
    max(gap) FILTER (back = 2) AS gap_second_last_days,
    max(gap) FILTER (back = 3) AS gap_third_last_days,
    count(*) FILTER (gap >= silence) AS gaps_outlasting,
    count(*) FILTER (gap >= silence AND gap < silence + 28) / nullif(gaps_outlasting, 0)
        AS own_return_share
FROM gaps GROUP BY row
"""

_POINTS = f"""
WITH facts AS (
    SELECT row, max(now) AS now,
        coalesce(sum(amount) FILTER (kind = 13), 0) AS earned,
        coalesce(sum(amount) FILTER (kind = 14), 0) AS spent,
        coalesce(sum(amount) FILTER (kind = 15), 0) AS expired,
        arg_max(cost, (time, cost)) FILTER (cost IS NOT NULL) AS stated,
        arg_max({{'points': amount, 'until': until}}, (time, until, amount))
            FILTER (kind = 16 AND amount IS NOT NULL AND until IS NOT NULL) AS report,
        min(age) FILTER (kind = 14) AS points_spent_recency_days,
        {
    ", ".join(
        f"coalesce(sum(amount * power(2, -age / {life})) FILTER (kind = {kind}), 0)"
        f" AS {name}_{life}"
        for kind, name in ((13, "earned"), (14, "spent"))
        for life in (90, 365)
    )
}
    FROM seen WHERE kind BETWEEN 13 AND 16 GROUP BY row
)
SELECT row, points_spent_recency_days,
    coalesce(stated, CASE WHEN earned > 0 THEN greatest(earned - spent - expired, 0) END)
        AS points_balance,
    earned_90 AS points_earned_decayed_90, spent_90 AS points_spent_decayed_90,
    CASE WHEN earned_365 > {VANISHED} THEN (earned_90 / 90) / (earned_365 / 365) END
        AS points_earned_trend_90_365,
    CASE WHEN spent_365 > {VANISHED} THEN (spent_90 / 90) / (spent_365 / 365) END
        AS points_spent_trend_90_365,
    spent / nullif(earned, 0) AS points_used_share,
    CASE WHEN report IS NULL THEN NULL WHEN report.until <= now THEN 0
         WHEN stated IS NULL THEN report.points
         ELSE least(greatest(stated, 0), report.points) END AS points_expiring,
    CASE WHEN points_expiring > 0 THEN (report.until - now) / 86400 END AS points_expiry_days
FROM facts
"""  # noqa: S608 (numbers of ours)

_WEEKDAYS = """
SELECT row, max(n) / sum(n) AS weekday_share
FROM (SELECT row, day % 7 AS weekday, count(*) AS n FROM days GROUP BY ALL) GROUP BY row
"""


_TIME_OF_WEEK = """
SELECT row, max(n) / sum(n) AS time_of_week_share
FROM (
    SELECT row, count(*) AS n FROM (
        SELECT row, make_timestamp(CAST(floor(time * 1e6) AS BIGINT)) AS moment
        FROM seen WHERE kind = 1
    ) GROUP BY row, isodow(moment), hour(moment) // 6
) GROUP BY row
"""

_CATEGORIES = """
SELECT row, 1 / sum(power(share, 2)) AS categories, max(share) AS favourite_category_share
FROM (
    SELECT row, count(*) / sum(count(*)) OVER (PARTITION BY row) AS share
    FROM seen WHERE kind = 1 AND category <> 0 GROUP BY row, category % 16
) GROUP BY row
"""

_SEASON = """
SELECT row, CASE WHEN tenure >= 364 THEN count(*) FILTER (ahead BETWEEN 1 AND 28) END
        AS season_days_28,
    CASE WHEN tenure >= 364 THEN count(*) FILTER (ahead BETWEEN 1 AND 91) END AS season_days_91
FROM (SELECT row, day - floor(now / 86400) + 364 AS ahead FROM days)
JOIN (SELECT row, max(age) AS tenure FROM seen WHERE kind = 1 GROUP BY row) USING (row)
GROUP BY row, tenure
"""


def _decayed() -> str:
    sums = ", ".join(
        f"coalesce(sum({value} * power(2, -age / {life})) FILTER ({which}), 0) AS {name}_{life}"
        for name, value, which in (
            ("purchases_decayed", "1", "kind = 1"),
            ("amount_decayed", "amount", "kind = 1"),
            ("priced", "1", "kind = 1 AND amount IS NOT NULL"),
            ("interactions_decayed", "1", "kind IN (3, 10)"),
        )
        for life in LIVES
    )
    trends = ", ".join(
        f"CASE WHEN {count}_{long} > {VANISHED} THEN ({name}_decayed_{short} / {short}) "
        f"/ nullif({name}_decayed_{long} / {long}, 0) END AS {name}_trend_{short}_{long}"
        for name, count, short, long in (
            ("purchases", "purchases_decayed", 7, 90),
            ("purchases", "purchases_decayed", 30, 365),
            ("purchases", "purchases_decayed", 90, 365),
            ("amount", "priced", 30, 365),
            ("interactions", "interactions_decayed", 7, 90),
            ("interactions", "interactions_decayed", 30, 365),
        )
    )
    levels = ", ".join(
        f"CASE WHEN priced_{life} > {VANISHED} THEN amount_decayed_{life} / priced_{life} END "
        f"AS order_value_{life}"
        for life in (30, 365)
    )
    trend = "order_value_30 / nullif(order_value_365, 0) AS order_value_trend"
    return f"SELECT row, {sums}, {trends}, {levels}, {trend} FROM seen GROUP BY row"  # noqa: S608


def _kinds() -> str:
    sums = ", ".join(
        f"coalesce(sum(power(2, -age / {life})) FILTER (channel = {number}), 0) AS {name}_{life}"
        for number, name in enumerate(CLASSES, 1)
        for life in (30, 90)
    )
    found = ", ".join(
        f"{name}_30 AS {name}_decayed_30, CASE WHEN {name}_90 > {VANISHED} "
        f"THEN ({name}_30 / 30) / ({name}_90 / 90) END AS {name}_trend_30_90"
        for name in CLASSES
    )
    known = (
        "HAVING count(*) FILTER (channel > 0) = count(*) OR max(age) FILTER (channel > 0) >= 180"
    )
    of = f"SELECT row, {sums} FROM seen WHERE kind = 3 GROUP BY row {known}"  # noqa: S608
    return f"SELECT row, {found} FROM ({of})"  # noqa: S608


def _windows() -> str:
    counts = ", ".join(
        f"count(*) FILTER (floor(now / 86400) - day <= {window}) AS purchase_days_{window}"
        for window in WINDOWS
    )
    return f"SELECT row, count(*) AS purchase_days, {counts} FROM days GROUP BY row"  # noqa: S608


def reference_features(events: EventColumns, now: Floats) -> dict[str, Floats]:
    """Return features by name for customers `0 .. len(now) - 1`; NaN where not defined."""
    n = len(now)
    found = {name: np.zeros(n) for name in COUNTED}
    given = {field.name: getattr(events, field.name) for field in fields(events)}
    with duckdb.connect() as db:
        db.register("given", given)
        db.register("given_nows", {"row": np.arange(n), "now": now})
        db.execute(_BASE)
        for query in (
            _LIFETIME,
            _POINTS,
            _SCORES,
            _GAPS,
            _WEEKDAYS,
            _TIME_OF_WEEK,
            _CATEGORIES,
            _SEASON,
            _decayed(),
            _kinds(),
            _windows(),
        ):
            lines = db.execute(query).fetchnumpy()
            row = lines.pop("row")
            for name, values in lines.items():
                whole = found.setdefault(name, np.full(n, np.nan))
                whole[row] = np.ma.filled(np.ma.asarray(values, float), np.nan)
    for gap in ("mean", "median", "longest"):
        found[f"silence_over_gap_{gap}"] = found["recency_days"] / found[f"gap_{gap}_days"]
    return found
