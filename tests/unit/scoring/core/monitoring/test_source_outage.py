"""Sources that stopped delivering, and those that only pause as usual."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.monitoring.source_outage import SOURCES_MAX, observe, stopped

HOUR_S, DAY_S = 3_600.0, 86_400.0
Open = Callable[[float], bool]
"""Return whether a shop is open at an hour since Monday, midnight."""


def _always(_: float) -> bool:
    return True


def _by_day(hour: float) -> bool:
    return 9 <= hour % 24 < 20


def _on_weekdays(hour: float) -> bool:
    return _by_day(hour) and hour % (24 * 7) < 24 * 5


def _weeks(weeks: int, per_hour: int, is_open: Open) -> list[float]:
    """Return purchases, evenly within each open hour of so many weeks."""
    return [
        (hour + n / per_hour) * HOUR_S
        for hour in range(weeks * 24 * 7)
        if is_open(hour)
        for n in range(per_hour)
    ]


@pytest.mark.parametrize("is_open", [_always, _by_day, _on_weekdays])
def test_pauses_as_usual_raise_no_alarm_and_a_stop_does(is_open: Open) -> None:
    """After two weeks nights and weekends are no stop, but two weeks without purchases are."""
    times = _weeks(6, 20, is_open)
    known, read = observe({}, []), 0
    for hour in range(24 * 7 * 2, 24 * 7 * 6):
        until = int(np.searchsorted(times, hour * HOUR_S))
        known = observe(known, [("shop", at) for at in times[read:until]])
        read = until
        assert stopped(known, hour * HOUR_S) == []
    assert stopped(known, times[-1] + 14 * DAY_S) == ["shop"]


def test_an_online_shop_is_missed_within_a_quarter_of_a_day() -> None:
    times = _weeks(2, 20, _always)
    known = observe({}, [("shop", at) for at in times])
    assert stopped(known, times[-1] + 5.9 * HOUR_S) == []
    assert stopped(known, times[-1] + 6 * HOUR_S) == ["shop"]


def test_a_source_of_a_handful_of_customers_is_never_taken_as_stopped() -> None:
    """One purchase a day: a stop is the silence of those few customers."""
    known = observe({}, [("shop", n * DAY_S) for n in range(60)])
    assert stopped(known, 59 * DAY_S + 300 * DAY_S) == []


def test_twenty_purchases_must_be_missing() -> None:
    """At six a day, of which a decayed rate of 59 days has 95 %, this takes 3.5 days."""
    known = observe({}, [("shop", n * DAY_S / 6) for n in range(6 * 60)])
    end = 60 * DAY_S - DAY_S / 6
    assert stopped(known, end + 3 * DAY_S) == []
    assert stopped(known, end + 4 * DAY_S) == ["shop"]


def test_a_new_source_is_not_known_yet() -> None:
    known = observe({}, [("shop", n * HOUR_S / 20) for n in range(20 * 24 * 6)])
    assert stopped(known, 30 * DAY_S) == []


def test_one_source_stops_while_another_goes_on() -> None:
    till = [("till", at) for at in _weeks(3, 20, _always)]
    web = [("web", at) for at in _weeks(2, 20, _always)]
    known = observe({}, [*till, *web])
    assert stopped(known, 21 * DAY_S) == ["web"]
    assert stopped(observe(known, [("web", 21 * DAY_S)]), 21 * DAY_S) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e7)), max_size=40))
def test_numbers_stay_plain_and_nothing_given_is_changed(
    purchases: list[tuple[str, float]],
) -> None:
    before = {"a": [3.0, 5.0, 100.0, 0.0]}
    known = observe(before, purchases)
    assert before == {"a": [3.0, 5.0, 100.0, 0.0]}
    assert all(np.isfinite(numbers).all() for numbers in known.values())
    newest = max((at for source, at in purchases if source == "a"), default=0.0)
    assert known["a"][2] == max(100.0, newest)


def test_sources_are_bounded() -> None:
    many = [(f"shop-{n}", float(n)) for n in range(3 * SOURCES_MAX)]
    assert list(observe({}, many)) == [f"shop-{n}" for n in range(2 * SOURCES_MAX, 3 * SOURCES_MAX)]
