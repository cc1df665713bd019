"""A customer's clock: how long a silence must last to be a lapse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.lapse import (
    RHYTHM_DAYS_MIN,
    SEASON_DAYS_MAX,
    SEASON_FACTOR,
    LapseClock,
    own_rhythm,
    silences_of,
)
from services.scoring.core.risk.rhythm import Prior
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.feature_rows import rows, seen_at
from tests.unit.scoring.core.histories import columns, purchases

CLOCK = LapseClock()
"""Four usual gaps, 28 to 180 days.

Without an own rhythm the gap is (28 + days) / (0.5 + repeats).
"""


def length(*days: int, clock: LapseClock = CLOCK, at: float | None = None) -> float:
    """Return the lapse length after purchases at noon of these days, a day later or at `at`."""
    seen = at if at is not None else max(days) + 1.5
    return float(silences_of(seen_at(seen, purchases(*days)), clock).days[0])


def test_the_defaults_are_those_of_the_decision() -> None:
    assert (CLOCK.gaps, CLOCK.days_min, CLOCK.days_max) == (4.0, 28.0, 180.0)
    assert (RHYTHM_DAYS_MIN, SEASON_FACTOR, SEASON_DAYS_MAX) == (5, 1.25, 450.0)


def test_the_lapse_length_is_four_usual_gaps() -> None:
    """Four usual gaps: (9 + 11 + 10 + 14) / 4 = 11 days, hence 44."""
    assert length(0, 9, 20, 30, 44) == pytest.approx(44.0)


def test_the_usual_gap_is_that_of_the_last_twelve() -> None:
    """Thirty gaps of a day and twelve of fifteen: today's gap is fifteen."""
    days = [*range(31), *range(45, 45 + 12 * 15, 15)]
    assert length(*days) == pytest.approx(60.0)
    # Of eleven such gaps the twelfth is still of a day: (11 x 15 + 1) / 12.
    assert length(*days[:-1]) == pytest.approx(4 * 166 / 12)


@pytest.mark.parametrize(
    ("days", "wanted"),
    [
        # (28 + 0) / 0.5 = 56 days, four of which are beyond the ceiling.
        ((7,), 180.0),
        # (28 + 30) / 1.5 = 38.67, four of which are 154.67.
        ((7, 37), 4 * 58 / 1.5),
        # Three gaps of ten days: (28 + 30) / 3.5 = 16.57. The fourth gap makes it their mean.
        ((0, 10, 20, 30), 4 * 58 / 3.5),
        ((0, 10, 20, 30, 40), 40.0),
    ],
)
def test_the_lapse_length_of_few_purchases_uses_the_prior(
    days: tuple[int, ...], wanted: float
) -> None:
    x = seen_at(max(days) + 1.5, purchases(*days))
    assert length(*days) == pytest.approx(wanted)
    assert own_rhythm(x).tolist() == [len(days) >= RHYTHM_DAYS_MIN]


def test_the_lapse_length_of_few_purchases_uses_the_companys_own_prior() -> None:
    """(10 + 30) / (1 + 1) = 20 days."""
    clock = LapseClock(prior=Prior(purchases=1.0, days=10.0))
    assert length(7, 37, clock=clock) == pytest.approx(80.0)
    # A customer with an own rhythm does not use it.
    assert length(0, 10, 20, 30, 40, clock=clock) == 40.0


def test_floor_and_ceiling() -> None:
    weekly, daily = range(0, 35, 7), range(5)
    assert length(*weekly) == 28.0
    assert length(*daily) == 28.0
    assert length(*range(0, 180, 36)) == 144.0
    assert length(*range(0, 250, 46)) == 180.0
    assert length(*daily, clock=LapseClock(gaps=3.0, days_min=2.0)) == 3.0
    assert length(*weekly, clock=LapseClock(gaps=3.0, days_min=2.0, days_max=20.0)) == 20.0


def _season(start: int, gap: int) -> list[int]:
    """Return weekly purchase days up to day 1400, with a gap of so many days from `start` on."""
    return [day for day in range(700, 1401, 7) if not start < day < start + gap]


@pytest.mark.parametrize(
    ("start", "gap", "wanted"),
    [
        # A year before the newest purchase day, 1400, is 1036.
        (1036, 56, 70.0),
        (1036 - 28, 56, 70.0),
        (1036 + 28, 56, 70.0),
        # Begun a week further off, it does not count as a silence of this season.
        (1036 - 35, 56, 28.0),
        (1036 + 35, 56, 28.0),
        # As long as a lapse, it is a season; shorter, it was an ordinary silence.
        (1036, 28, 35.0),
        (1036, 21, 28.0),
    ],
)
def test_the_lapse_length_of_a_seasonal_buyer_covers_last_years_silence(
    start: int, gap: int, wanted: float
) -> None:
    """The length is a quarter longer than the silence that began at this time a year ago."""
    assert length(*_season(start, gap)) == pytest.approx(wanted)


def test_a_season_has_its_ceiling() -> None:
    """Once a year: 456 days would be a quarter longer, and 450 is the maximum."""
    assert length(0, 365, 730, 1095, 1460) == SEASON_DAYS_MAX
    assert length(0, 340, 680, 1020, 1360) == pytest.approx(1.25 * 340)


def test_share_rest_and_whether_it_is_reached() -> None:
    """Every ten days, so that a lapse takes forty: silences of 10, 39.5, 40 and 50 days."""
    x = rows(
        purchase_days=6.0, gap_recent_days=10.0, gap_mean_days=10.0,
        recency_days=[10.0, 39.5, 40.0, 50.0],
    )  # fmt: skip
    found = silences_of(x, CLOCK)
    assert found.days.tolist() == [40.0] * 4
    assert found.silence.tolist() == [10.0, 39.5, 40.0, 50.0]
    assert found.gap.tolist() == [10.0] * 4
    assert found.own.tolist() == [True] * 4
    assert found.share.tolist() == [0.25, 0.9875, 1.0, 1.25]
    assert found.rest.tolist() == [30.0, 0.5, 0.0, 0.0]
    assert found.reached.tolist() == [False, False, True, True]


def test_a_prospect_has_none() -> None:
    """The customer beside is not affected."""
    events = columns(time=[DAY_S, 2 * DAY_S], row=[0, 1], kind=[3, 1])
    found = silences_of(seen_at(3.0, events), CLOCK)
    assert np.isnan(found.days).tolist() == [True, False]
    assert np.isnan(found.silence).tolist() == [True, False]
    assert np.isnan(found.share).tolist() == [True, False]
    assert found.reached.tolist() == [False, False]
    assert found.own.tolist() == [False, False]


def _columns(found: object, *names: str) -> list[Floats]:
    return [getattr(found, name) for name in names]


@given(
    days=st.lists(st.integers(0, 3_000), min_size=1, max_size=40, unique=True),
    looks=st.lists(st.floats(0, 4_000), min_size=2, max_size=8),
)
def test_the_length_never_changes_during_a_silence(days: list[int], looks: list[float]) -> None:
    """It depends on purchases alone, so only the silence grows."""
    last = max(days) + 0.5
    x = [seen_at(last + silent, purchases(*days))[0] for silent in sorted(looks)]
    found = silences_of(np.array(x), CLOCK)
    for column in _columns(found, "days", "gap", "own"):
        assert len(set(column.tolist())) == 1
    assert np.all(np.diff(found.silence) >= 0)
    assert np.all(np.diff(found.share) >= 0)
    assert np.all(np.diff(found.rest) <= 0)
    assert CLOCK.days_min <= found.days[0] <= SEASON_DAYS_MAX
