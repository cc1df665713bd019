"""Signs of the loyalty programme: points about to expire unused, and a lowered level."""

from datetime import date

import numpy as np
import pytest

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.reasons import rule_reasons
from services.scoring.core.signs.detectors import wait_s
from tests.unit.scoring.core.detector_inputs import holding, seen, signs
from tests.unit.scoring.core.feature_rows import rows

EXPIRING = {"points_expiring": 1_200.0, "points_balance": 1_300.0, "points_expiry_days": 20.0}


def test_most_points_about_to_expire_unused_are_a_sign() -> None:
    assert holding(seen(rows(**EXPIRING))) == [["points_expiring"]]


@pytest.mark.parametrize(
    "other",
    [
        {"points_expiry_days": 30.5},
        {"points_expiring": 0.0, "points_expiry_days": np.nan},
        {"points_balance": 2_500.0},
        {"points_spent_recency_days": 90.0},
    ],
    ids=["later than a month", "none", "less than half of them", "points in use"],
)
def test_others_are_left_alone(other: dict[str, float]) -> None:
    x = rows(**EXPIRING | other)
    assert holding(seen(x)) == [[]]
    assert not [r for r in rule_reasons(x)[0] if r.code == "points_expiring"]


def test_points_not_spent_for_a_quarter_are_unused() -> None:
    assert holding(seen(rows(**EXPIRING, points_spent_recency_days=91.0))) == [["points_expiring"]]


def test_an_unknown_balance_is_no_excuse() -> None:
    x = rows(points_expiring=50.0, points_expiry_days=3.0)
    assert holding(seen(x)) == [["points_expiring"]]


@pytest.mark.parametrize("hours", [0.0, 0.25, 11.9, 23.99])
def test_the_date_is_the_one_that_was_reported(hours: float) -> None:
    """At whatever time of the day the customer is assessed."""
    last = date(2017, 12, 31).toordinal() - date(1970, 1, 1).toordinal()
    now = (last - 9) * DAY_S + hours * 3_600
    x = rows(**EXPIRING | {"points_expiry_days": (last + 1) - now / DAY_S})
    (found,) = signs(seen(x, now=now))
    assert found.facts["expires_on"] == last
    assert found.facts["points_expiring"] == 1_200


def test_a_lowered_level_is_a_sign_for_a_quarter() -> None:
    x = rows(level_lowered_days=[0.0, 91.0, 91.1, np.nan])
    assert holding(seen(x)) == [["level_lowered"], ["level_lowered"], [], []]


def test_the_next_assessment_comes_when_points_begin_to_count_and_when_they_expire() -> None:
    waits = wait_s(rows(points_expiry_days=[44.0, 12.0, np.nan], complaints_open=0.0)) / DAY_S
    assert waits.tolist() == [14.0, 12.0, np.inf]


def test_the_reason_quotes_the_numbers() -> None:
    (found,) = [r for r in rule_reasons(rows(**EXPIRING))[0] if r.code == "points_expiring"]
    assert found.facts == {"points_expiring": 1_200.0, "days_to_expiry": 20.0}
