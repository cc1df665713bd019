"""Loyalty events in a state: balances and reports by the newest, sums, memories and referrals."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from services.scoring.core.features.compute import feature_index, features
from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import POINTS
from services.scoring.core.features.state import empty
from shared.contracts import events as types
from shared.contracts.activity import Activity, ActivityData
from tests.unit.scoring.core.feature_rows import seen_at
from tests.unit.scoring.core.histories import columns, purchases

EARNED, SPENT, EXPIRED, EXPIRING = (
    Kind.POINTS_EARNED,
    Kind.POINTS_SPENT,
    Kind.POINTS_EXPIRED,
    Kind.POINTS_EXPIRING,
)


def told(*events: tuple[float, Kind, float, float, float]) -> EventColumns:
    """Return one customer's events: day, kind, points, balance, end (a day since 1970)."""
    day, kind, points, balance, until = (np.array(part) for part in zip(*events, strict=True))
    return columns(time=day * DAY_S, kind=kind, amount=points, cost=balance, until=until * DAY_S)


def value(name: str, day: float, events: EventColumns) -> float:
    return float(seen_at(day, events)[0, feature_index[name]])


NAN = float("nan")


def test_the_newest_balance_counts_however_late_the_older_ones_arrive() -> None:
    newest = (12.0, SPENT, 200.0, 800.0, NAN)
    older = (10.0, EARNED, 1_000.0, 1_000.0, NAN)
    assert value("points_balance", 20, told(older, newest)) == 800
    assert value("points_balance", 20, told(newest, older)) == 800


def test_without_a_reported_balance_it_is_counted() -> None:
    events = told(
        (1, EARNED, 500.0, NAN, NAN), (2, SPENT, 120.0, NAN, NAN), (3, EXPIRED, 80.0, NAN, NAN)
    )
    assert value("points_balance", 5, events) == 300
    assert value("points_used_share", 5, events) == pytest.approx(120 / 500)
    overspent = told((1, EARNED, 5.0, NAN, NAN), (2, SPENT, 120.0, NAN, NAN))
    assert value("points_balance", 5, overspent) == 0


def test_a_newer_report_replaces_what_expires() -> None:
    first = (10.0, EXPIRING, 1_200.0, NAN, 40.0)
    assert value("points_expiring", 20, told(first)) == 1_200
    assert value("points_expiry_days", 20, told(first)) == 20
    withdrawn = (15.0, EXPIRING, 0.0, NAN, 40.0)
    assert value("points_expiring", 20, told(first, withdrawn)) == 0
    assert np.isnan(value("points_expiry_days", 20, told(first, withdrawn)))


def test_no_more_can_expire_than_the_account_holds() -> None:
    report = (10.0, EXPIRING, 1_200.0, 1_500.0, 40.0)
    assert value("points_expiring", 20, told(report, (11, SPENT, 1_000.0, 500.0, NAN))) == 500
    below = (11.0, SPENT, 1_000.0, -20.0, NAN)
    assert value("points_expiring", 20, told(report, below)) == 0


def test_after_their_last_day_no_points_expire() -> None:
    report = told((10.0, EXPIRING, 1_200.0, NAN, 40.0))
    assert value("points_expiring", 39.999, report) == 1_200
    assert value("points_expiring", 40.0, report) == 0


def test_memories_fade_from_the_newest_movement() -> None:
    """By half in 90 days, in whatever order and in however many folds the events come."""
    events = told((10, EARNED, 100.0, NAN, NAN), (100, EARNED, 100.0, NAN, NAN),
                  (55, SPENT, 64.0, NAN, NAN))  # fmt: skip
    assert value("points_earned_decayed_90", 190, events) == pytest.approx(25 + 50)
    assert value("points_spent_decayed_90", 190, events) == pytest.approx(64 * 2**-1.5)
    states = empty(1)
    for at in (1, 2, 0):
        states = fold(states, events.select(np.array([at])))
    x = features(states, np.array([190 * DAY_S]))
    assert x[0, feature_index["points_earned_decayed_90"]] == pytest.approx(75)


def test_a_steady_spender_has_a_trend_of_one() -> None:
    days = np.arange(0.0, 3_000.0, 5.0)
    steady = columns(time=days * DAY_S, kind=np.full(len(days), SPENT),
                     amount=np.full(len(days), 10.0))  # fmt: skip
    assert value("points_spent_trend_90_365", 3_000, steady) == pytest.approx(1.0, abs=0.03)
    stopped = steady.select(days < 2_800)
    assert value("points_spent_trend_90_365", 3_000, stopped) < 0.5


def test_a_level_is_lowered_until_it_is_raised_again() -> None:
    lowered = (10.0, Kind.LEVEL_LOWERED, NAN, NAN, NAN)
    assert value("level_lowered_days", 15, told(lowered)) == 5
    raised = (12.0, Kind.LEVEL_RAISED, NAN, NAN, NAN)
    assert np.isnan(value("level_lowered_days", 15, told(raised, lowered)))


def test_referrals_are_counted() -> None:
    events = told(*((day, Kind.REFERRAL, NAN, NAN, NAN) for day in (3.0, 9.0)))
    assert value("referrals", 10, events) == 2
    assert value("referral_recency_days", 10, events) == 1


def test_the_end_of_a_contract_is_not_that_of_points() -> None:
    """Both kinds of events carry an end; each has its own place."""
    contract = (1.0, Kind.CONTRACT_ACTIVATED, NAN, NAN, 50.0)
    report = (2.0, EXPIRING, 10.0, NAN, 90.0)
    x = seen_at(10, told(contract, report))[0]
    assert x[feature_index["contract_rest_days"]] == 40
    assert x[feature_index["points_expiry_days"]] == 80


def test_customers_without_points_have_no_such_feature() -> None:
    x = seen_at(40, purchases(1, 8, 15))[0]
    assert np.isnan([x[feature_index[feature.name]] for feature in POINTS]).all()
    assert x[feature_index["referrals"]] == 0


def test_an_event_is_decoded_to_its_columns() -> None:
    """Points, balance and last day; the points expire when that day is over."""
    activity = Activity(
        specversion="1.0", id="p-1", source="loyalty", type=types.LOYALTY, subject="c-1",
        time=datetime(2017, 12, 1, tzinfo=UTC),
        data=ActivityData(kind="points_expiring", points=1_200.0, balance=3_000.0,
                          expires_on=date(2017, 12, 31)),
    )  # fmt: skip
    found = columns_of([activity], [kind_of(activity)], [0])
    assert (found.kind[0], found.amount[0], found.cost[0]) == (EXPIRING, 1_200, 3_000)
    assert found.until[0] == datetime(2018, 1, 1, tzinfo=UTC).timestamp()
    activity.data.kind = "points_lost"
    with pytest.raises(ValueError, match="'points_lost': not known here"):
        kind_of(activity)
