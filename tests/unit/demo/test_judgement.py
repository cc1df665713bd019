"""The demo's "was it right?", against histories small enough to judge by hand."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from deploy.demo.judgement import Judgement, Quartiles, Timelines, Warned, judge, wilson

DAY_0 = datetime(2017, 1, 1, tzinfo=UTC)
HORIZON_DAYS = 10


def day(number: float) -> datetime:
    return DAY_0 + timedelta(days=number)


def purchases(**days_by_customer: list[float]) -> pl.DataFrame:
    rows = [
        (customer, day(number).replace(tzinfo=None))
        for customer, numbers in days_by_customer.items()
        for number in numbers
    ]
    return pl.DataFrame(rows, schema=["customer", "time"], orient="row")


PANEL = purchases(
    leaves=[0, 5, 18],  # nothing after day 18
    returns=[0, 15, 24],  # silent from day 15 to 24
    steady=[1, 4, 7, 10, 13, 16, 19, 22, 25, 28],
    gone=[0, 1],  # silent since day 1
    late=[26],  # no purchase yet when the warnings are given
)


def judged(*warnings: Warned, data_end: float = 40) -> Judgement:
    return judge(PANEL, warnings, HORIZON_DAYS, day(data_end))


def test_a_warning_is_right_when_nothing_is_bought_within_the_horizon() -> None:
    found = judged(Warned("leaves", day(20)), Warned("returns", day(20)))
    assert (found.judged, found.stayed_silent, found.precision) == (2, 1, 0.5)
    # Active on day 20: leaves, returns, steady; of these only `leaves` stays silent.
    assert found.base_rate == pytest.approx(1 / 3)
    assert found.lift == pytest.approx(1.5)


def test_the_days_before_are_counted_to_the_moment_a_fixed_rule_would_have_noticed() -> None:
    # Last purchase on day 18; the rule notices on day 28, the warning came on day 20 and a half.
    found = judged(Warned("leaves", day(20.5)))
    assert found.days_before_rule == Quartiles(7.5, 7.5, 7.5)


def test_those_who_were_silent_for_as_long_are_the_stricter_comparison() -> None:
    # Silent for 2 days on day 20: leaves. Within a day of that: steady (1 day). Not: returns (5).
    found = judged(Warned("leaves", day(20)))
    assert found.base_rate_same_silence == pytest.approx(1 / 2)
    assert found.lift_same_silence == pytest.approx(2.0)


def test_the_base_rate_is_weighted_by_the_warnings_of_each_day() -> None:
    # Day 8: active are leaves, returns, steady, gone; `gone` alone stays silent until day 18 -
    # and `leaves` buys at the very end of the horizon, which counts as bought.
    found = judged(Warned("gone", day(8)), Warned("leaves", day(20)), Warned("returns", day(20)))
    assert found.base_rate == pytest.approx((1 / 4 + 1 / 3 + 1 / 3) / 3)


@pytest.mark.parametrize(
    ("bought_after_days", "stayed_silent"), [(HORIZON_DAYS, 0), (HORIZON_DAYS + 0.01, 1)]
)
def test_the_horizon_includes_its_last_instant(
    bought_after_days: float, stayed_silent: int
) -> None:
    panel = purchases(one=[3, 5 + bought_after_days])
    found = judge(panel, [Warned("one", day(5))], HORIZON_DAYS, day(30))
    assert found.stayed_silent == stayed_silent


def test_a_purchase_at_the_instant_of_the_warning_lies_before_it() -> None:
    found = judge(purchases(one=[5]), [Warned("one", day(5))], HORIZON_DAYS, day(30))
    assert (found.judged, found.stayed_silent) == (1, 1)


def test_a_warning_whose_horizon_outlasts_the_data_is_left_out_and_counted() -> None:
    found = judged(Warned("leaves", day(20)), Warned("steady", day(21)), data_end=30)
    assert (found.warnings, found.too_late_to_tell, found.judged) == (2, 1, 1)


def test_customers_already_silent_for_a_horizon_do_not_flatter_the_precision() -> None:
    found = judged(Warned("gone", day(20)), Warned("late", day(20)), Warned("never seen", day(20)))
    assert (found.already_silent, found.judged, found.precision, found.lift) == (3, 0, None, None)


def test_no_warning_at_all_leaves_nothing_to_divide() -> None:
    found = judged()
    assert (found.precision, found.base_rate, found.days_before_rule) == (None, None, None)


def test_wilson_stays_inside_the_unit_interval_where_the_share_is_extreme() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@pytest.mark.parametrize("number", [-3, 0, 0.5, 7, 15, 24.5, 28, 100])
def test_looking_around_an_instant_agrees_with_a_plain_scan(number: float) -> None:
    at = day(number).timestamp()
    last, following = Timelines(PANEL).around(at)
    for customer, i in Timelines(PANEL).index.items():
        times = [
            t.replace(tzinfo=UTC).timestamp()
            for t in PANEL.filter(customer=customer)["time"].to_list()
        ]
        assert last[i] == max((t for t in times if t <= at), default=float("-inf"))
        assert following[i] == min((t for t in times if t > at), default=float("inf"))
