"""Outcomes of scores: returns, read from the purchase days of the state."""

import numpy as np
import pytest

from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.monitoring.outcomes import (
    first_day,
    group_quality,
    last_day,
    next_purchase_days,
    segments_of,
)

T0 = 19_000


def _states(days: list[list[float]]) -> np.ndarray:
    """Return states with purchases at these days after T0, one list per customer."""
    row = np.array([n for n, of in enumerate(days) for _ in of], np.int64)
    time = np.array([(T0 + at) * DAY_S for of in days for at in of])
    n = len(row)
    events = EventColumns(
        row=row,
        kind=np.full(n, Kind.PURCHASE, np.uint8),
        time=time,
        amount=np.full(n, 10.0),
        score=np.full(n, np.nan),
        key=np.arange(n, dtype=np.uint64),
        category=np.zeros(n, np.uint64),
        cost=np.full(n, np.nan),
        channel=np.zeros(n, np.uint8),
    )
    return fold(empty(len(days)), events)


def test_the_next_purchase_is_the_first_day_from_then_on() -> None:
    states = _states([[1, 5, 9], [1, 2], [7.5], []])
    after = np.full(4, T0 + 5, np.int64)
    assert next_purchase_days(states, after).tolist() == [T0 + 5, np.inf, T0 + 7, np.inf]


def test_outcomes_agree_with_a_check_of_every_day() -> None:
    random = np.random.default_rng(5)
    days = [sorted(random.uniform(0, 400, random.integers(0, 30)).tolist()) for _ in range(200)]
    after = random.integers(T0, T0 + 400, 200)
    expected = [
        min((T0 + int(at) for at in of if T0 + int(at) >= day), default=np.inf)
        for of, day in zip(days, after.tolist(), strict=True)
    ]
    assert next_purchase_days(_states(days), after).tolist() == expected


def test_a_purchase_known_at_the_call_is_no_return() -> None:
    called = np.array([(T0 + 0.4) * DAY_S, (T0 + 0.4) * DAY_S])
    assert first_day(called, np.array([False, True])).tolist() == [T0, T0 + 1]


@pytest.mark.parametrize(("hour", "last"), [(0.0, 27), (0.4, 27), (0.6, 28)])
def test_the_horizon_ends_at_the_nearest_midnight(hour: float, last: int) -> None:
    found = last_day(np.array([(T0 + hour) * DAY_S]), np.array([28]))
    assert found.tolist() == [T0 + last]


def test_worth_is_undefined_for_few_and_leaves_weightless_rows_out() -> None:
    random = np.random.default_rng(6)
    p = random.uniform(0, 1, 1_000)
    silent = random.random(1_000) < p
    weight = np.ones(1_000)
    weight[:300] = 0.0
    found = group_quality("all", silent, p, weight)
    assert found is not None
    assert found.rows == 700
    assert found.observed == pytest.approx(silent[300:].mean())
    assert found.expected == pytest.approx(p[300:].mean())
    assert found.calibration_error < 0.08
    assert found.lift_at_10 > 1.5
    assert group_quality("all", silent[:199], p[:199], np.ones(199)) is None
    assert group_quality("all", np.zeros(1_000, bool), p, np.ones(1_000)) is None


def test_a_weight_of_two_is_a_row_twice() -> None:
    random = np.random.default_rng(7)
    p = random.uniform(0, 1, 500)
    silent = random.random(500) < p
    weight = random.integers(1, 3, 500)
    one = group_quality("all", silent, p, weight.astype(float))
    other = group_quality(
        "all", np.repeat(silent, weight), np.repeat(p, weight), np.ones(weight.sum())
    )
    assert one is not None
    assert other is not None
    for name in (
        "observed", "expected", "roc_auc", "log_loss", "calibration_error", "lift_at_10",
    ):  # fmt: skip
        assert getattr(one, name) == pytest.approx(getattr(other, name))


def test_segments_cover_everybody_twice() -> None:
    random = np.random.default_rng(8)
    days, recency, tenure = random.integers(1, 5, 90), random.uniform(0, 60, 90), np.full(90, 95.0)
    found = segments_of(days.astype(float), recency, tenure, np.full(90, 28))
    assert found["all"].all()
    assert (found["active"] ^ found["silent"]).all()
    assert (found["bought once"] ^ found["bought again"]).all()
    assert not found["new"].any()
