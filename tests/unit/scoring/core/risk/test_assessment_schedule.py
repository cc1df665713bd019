"""A silence is assessed often enough, and no more often than that."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.assessment_schedule import (
    GONE_STEP_DAYS,
    STEP_DAYS_MAX,
    STEP_DAYS_MIN,
    STEP_SHARE,
    assessment_step_days,
    ebbing,
    next_assessment,
)
from services.scoring.core.risk.lapse import (
    ORDINARY_SHARE,
    LapseClock,
    SilenceColumns,
    silences_of,
)
from tests.unit.scoring.core.feature_rows import rows

NOW = 1.7e9
DUST = 1e-6
"""Tolerance in days.

A time of day is kept to the microsecond, 1e-11 days, in a float of 2e-7 s.
"""


def silences(days: float, *silent: float) -> SilenceColumns:
    """Return silences of so many days, with one lapse length."""
    n = len(silent)
    return SilenceColumns(
        np.full(n, days), np.array(silent), np.full(n, days / 4), np.ones(n, np.bool_)
    )


def step(seen: SilenceColumns, wanted: float = math.inf) -> list[float]:
    """Return the days until each customer's next assessment."""
    n = len(seen.days)
    at = next_assessment(seen, np.full(n, NOW), np.full(n, wanted))
    return [*((at - NOW) / DAY_S)]


@pytest.mark.parametrize(
    ("days", "silent", "wanted"),
    [
        # Ordinary up to 0.4 of the length: at the end of that.
        (40.0, 3.0, 13.0),
        (40.0, 15.5, STEP_DAYS_MIN),
        (180.0, 0.0, STEP_DAYS_MAX),
        # Rising: a twentieth of the length, of a dormant customer a fortieth; at least a day.
        (40.0, 16.0, 2.0),
        (40.0, 23.9, 2.0),
        (40.0, 24.0, STEP_DAYS_MIN),
        (40.0, 39.9, STEP_DAYS_MIN),
        (180.0, 108.0, 4.5),
        (28.0, 14.0, 1.4),
        (180.0, 90.0, 9.0),
        (10.0, 5.0, STEP_DAYS_MIN),
        (450.0, 200.0, STEP_DAYS_MAX),
        (450.0, 300.0, 11.25),
        # Gone.
        (40.0, 40.0, GONE_STEP_DAYS),
        (40.0, 900.0, GONE_STEP_DAYS),
    ],
)
def test_the_next_assessment_is_as_computed_by_hand(
    days: float, silent: float, wanted: float
) -> None:
    assert step(silences(days, silent)) == pytest.approx([wanted], abs=DUST)


def test_a_prospect_is_looked_at_after_the_longest_step() -> None:
    assert step(silences(np.nan, np.nan)) == pytest.approx([STEP_DAYS_MAX])


def test_what_waits_for_a_time_has_it() -> None:
    """The timer is never later than requested, also within the least step.

    It is not earlier than what is due by itself.
    """
    assert step(silences(40.0, 3.0), NOW + 3_600) == pytest.approx([1 / 24], abs=DUST)
    assert step(silences(40.0, 16.0), NOW + 5 * DAY_S) == pytest.approx([2.0], abs=DUST)


def test_ebbing_lies_between_ordinary_and_gone() -> None:
    seen = silences(50.0, 19.9, 20.0, 49.9, 50.0, np.nan)
    assert ebbing(seen).tolist() == [False, True, True, False, False]
    assert assessment_step_days(silences(28.0, 16.0, 20.0)).tolist() == pytest.approx([1.4, 1.0])


@given(
    gap=st.floats(0.1, 400),
    purchase_days=st.integers(1, 300),
    season=st.one_of(st.just(np.nan), st.integers(1, 1_000)),
    start=st.floats(0, 0.3),
)
def test_a_whole_silence(gap: float, purchase_days: int, season: float, start: float) -> None:
    """Follow the assessments from a purchase to beyond the lapse length."""
    x = rows(
        purchase_days=float(purchase_days), purchases=float(purchase_days), recency_days=0.0,
        gap_mean_days=gap if purchase_days > 1 else np.nan,
        gap_recent_days=gap if purchase_days > 1 else np.nan,
        gap_season_days=season,
    )  # fmt: skip
    seen = silences_of(x, LapseClock())
    length, gaps = float(seen.days[0]), float(seen.gap[0])
    looks = [start * length]
    while looks[-1] < length:
        silence = np.array([looks[-1]])
        now = SilenceColumns(seen.days, silence, np.array([gaps]), seen.own)
        looks.append(looks[-1] + step(now)[0])
    most = max(STEP_DAYS_MIN, STEP_SHARE * length)
    for early, late in pairwise(looks):
        if early >= ORDINARY_SHARE * length:
            assert late - early <= most + DUST
    # No customer passes from an ordinary silence to three quarters of the length unseen, ...
    assert any(ORDINARY_SHARE * length <= at < 0.75 * length for at in looks)
    # ... not even from the beginning of a sign, 0.5, to there.
    assert any(0.5 * length <= at < 0.75 * length for at in looks)
    # An ordinary silence costs an assessment a fortnight, and one where it ends.
    ordinary = [at for at in looks[1:] if at < ORDINARY_SHARE * length - DUST]
    assert len(ordinary) <= ORDINARY_SHARE * length / STEP_DAYS_MAX + DUST
