"""The fold on small histories with features that can be computed by hand."""

import numpy as np
import pytest

from services.scoring.core.features.compute import feature_index
from services.scoring.core.features.events import DAY_S, Channel, Kind
from services.scoring.core.features.gaps import gap_statistics
from tests.unit.scoring.core.feature_rows import seen_at
from tests.unit.scoring.core.histories import columns, purchases, together


def test_gaps_windows_and_silence() -> None:
    """Purchases at noon of days 100, 103, 103, 113, 120, with features at noon of day 130."""
    x = seen_at(130.5, purchases(100, 103, 103, 113, 120))[0]
    expected = {
        "recency_days": 10.0,
        "tenure_days": 30.0,
        "purchases": 5.0,
        "purchase_days": 4.0,
        "gap_mean_days": 20 / 3,
        "gap_median_days": 7.0,
        "gap_last_days": 7.0,
        "gap_second_last_days": 10.0,
        "gap_third_last_days": 3.0,
        "silence_over_gap_mean": 1.5,
        "gaps_outlasting": 1.0,
        "own_return_share": 1.0,
        "purchase_days_7": 0.0,
        "purchase_days_14": 1.0,
        "purchase_days_28": 3.0,
        "purchase_days_56": 4.0,
        "purchases_decayed_30": 2 ** (-1 / 3) + 2 ** (-17 / 30) + 2 * 2 ** (-0.9) + 0.5,
    }
    for name, value in expected.items():
        assert x[feature_index[name]] == pytest.approx(value), name


def test_money_with_and_without_amounts() -> None:
    """A purchase without an amount counts as a purchase and dilutes no mean."""
    events = columns(
        time=np.array([10, 20, 30, 31]) * DAY_S,
        kind=[Kind.PURCHASE, Kind.PURCHASE, Kind.PURCHASE, Kind.REFUND],
        amount=[30.0, np.nan, 50.0, 20.0],
    )
    x = seen_at(31.0, events)[0]
    assert x[feature_index["spent"]] == 80.0
    assert x[feature_index["order_value"]] == 40.0
    assert x[feature_index["refunded_share"]] == 0.25
    assert x[feature_index["refund_share"]] == pytest.approx(1 / 3)


def test_feedback_enters_the_features() -> None:
    """R8: surveys, complaints, suggestions and intent enter the features.

    The last two scored surveys count; one without a score does not hide them.
    """
    kinds = [6, 6, 6, 6, 4, 4, 5, 7, 8]
    scores = [9.0, 8.0, 3.0, np.nan, np.nan, np.nan, np.nan, 5.0, np.nan]
    days = [3, 1, 5, 6, 2, 7, 4, 2, 9]
    events = columns(time=np.array(days) * DAY_S, kind=kinds, score=scores)
    x = seen_at(10.0, events)[0]
    expected = {
        "survey_score": 3.0,
        "survey_change": -6.0,
        "survey_recency_days": 5.0,
        "complaints": 2.0,
        "complaints_open": 1.0,
        "complaint_recency_days": 3.0,
        "recommendation_score": 5.0,
        "suggestions": 1.0,
        "purchases": 0.0,
    }
    for name, value in expected.items():
        assert x[feature_index[name]] == value, name


def test_closed_before_opened() -> None:
    """A closing that arrives alone is no negative complaint; the opening balances it."""
    closed = columns(time=[5 * DAY_S], kind=[Kind.COMPLAINT_CLOSED])
    opened = columns(time=[4 * DAY_S], kind=[Kind.COMPLAINT_OPENED])
    for events in (closed, together(closed, opened)):
        assert seen_at(6.0, events)[0, feature_index["complaints_open"]] == 0.0


def test_equal_times_are_settled_by_key() -> None:
    """Three surveys of one moment: the greatest keys count, whichever came first."""
    events = columns(
        time=np.full(4, DAY_S), kind=[6, 6, 6, 7], score=[2.0, 10.0, 9.0, 4.0], key=[8, 1, 3, 5]
    )
    for order in ([0, 1, 2, 3], [1, 0, 3, 2], [2, 1, 3, 0]):
        x = seen_at(2.0, events.select(np.array(order)))[0]
        assert x[feature_index["survey_score"]] == 2.0
        assert x[feature_index["survey_change"]] == -7.0


def test_now_just_behind_midnight() -> None:
    """A purchase minutes after `now` (a clamped clock) is a silence of 0 days, not of -1."""
    events = columns(time=np.array([100.001, 127.001]) * DAY_S)
    x = seen_at(126.999, events)[0]
    assert x[feature_index["recency_days"]] == 0.0
    assert x[feature_index["own_return_share"]] == 1.0
    assert x[feature_index["purchase_days_7"]] == 1.0


def test_gaps_of_very_many_rows() -> None:
    """Beyond 524,288 rows (row, gap) no longer fits 32 bits: the last row is still right."""
    n, last = 600_000, 599_999
    row, day = np.array([5, 5, last, last, last]), np.array([10, 12, 20, 30, 60])
    found = gap_statistics(n, row, day, np.zeros(n, np.int64), 28, 364)
    assert found.median[[5, last]].tolist() == [2.0, 20.0]
    assert found.newest[last].tolist()[:2] == [30.0, 10.0]
    assert np.isnan(found.mean).sum() == n - 2


def test_weekday_regularity() -> None:
    """Three of four purchase days on one weekday."""
    x = seen_at(40.0, purchases(3, 10, 17, 18))[0]
    assert x[feature_index["weekday_share"]] == 0.75


def test_habits_and_marketing() -> None:
    """Times of week, categories, channels, margin and answers to campaigns, by hand."""
    saturday_noon = 9.5 * DAY_S  # 1970-01-10
    events = columns(
        time=[saturday_noon, saturday_noon + 7 * DAY_S, saturday_noon + 9 * DAY_S, 1e6, 1e6 + 1],
        kind=[Kind.PURCHASE] * 3 + [Kind.CAMPAIGN_RECEIVED, Kind.CAMPAIGN_REDEEMED],
        amount=[10.0, 20.0, 30.0, np.nan, np.nan],
        cost=[6.0, np.nan, 40.0, np.nan, np.nan],
        category=[5, 5, 6, 0, 0],
        channel=[Channel.ONLINE, Channel.OFFLINE, Channel.UNKNOWN, 0, 0],
    )
    x = seen_at(30.0, events)[0]
    expected = {
        "time_of_week_share": 2 / 3,
        "weekend_share": 2 / 3,
        "categories": 9 / 5,
        "favourite_category_share": 2 / 3,
        "online_share": 0.5,
        "offline_share": 0.5,
        "profit": -6.0,
        "margin_share": -6 / 40,
        "campaigns_received": 1.0,
        "campaign_response": 1.0,
        "interactions": 1.0,
    }
    found = {name: x[feature_index[name]] for name in expected}
    assert found == pytest.approx(expected)


def test_the_season_a_year_ago() -> None:
    """A customer who bought last December is expected again this December.

    This is unknown in the first year.
    """
    x = seen_at(400.0, purchases(2, 50, 100))[0]
    assert x[feature_index["season_days_28"]] == 1.0
    assert x[feature_index["season_days_91"]] == 2.0
    assert np.isnan(seen_at(300.0, purchases(2, 50))[0][feature_index["season_days_28"]])
