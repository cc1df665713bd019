"""The rule without a model: it knows a late customer, and looks in time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import rankdata

from services.scoring.core.bands import band_index
from services.scoring.core.events import DAY_S
from services.scoring.core.features import feature_index, features
from services.scoring.core.fold import fold
from services.scoring.core.rhythm import (
    LOOK_DAYS_MAX,
    LOOK_DAYS_MIN,
    LOOK_GONE_DAYS,
    assessable,
    churn_by_rhythm,
    ebbing,
    next_look,
)
from services.scoring.core.state import empty
from tests.unit.scoring_core.histories import columns, purchases, real, together
from tests.unit.scoring_core.people import rows, seen_at

Floats = NDArray[np.float64]


@given(
    repeats=st.integers(0, 2_000),
    gap=st.floats(1, 1_000),
    silence=st.floats(0, 5_000),
    longer=st.floats(0, 5_000),
    horizon=st.sampled_from([7, 28, 91, 365]),
)
def test_risk_never_falls_in_silence(
    repeats: int, gap: float, silence: float, longer: float, horizon: int
) -> None:
    """R2: with elapsed time alone the risk only rises; and it falls with a longer horizon."""
    x = rows(
        recency_days=[silence, silence + longer],
        purchase_days=repeats + 1,
        gap_mean_days=gap if repeats else np.nan,
    )
    early, late = churn_by_rhythm(x, horizon)
    assert 0 <= early <= late + 1e-12
    assert late <= 1
    assert churn_by_rhythm(x, horizon + 1)[0] <= early + 1e-12


def test_formula_by_hand() -> None:
    """Ten repeats over 100 days, 30 days silent, four weeks ahead."""
    x = rows(recency_days=30.0, purchase_days=11.0, gap_mean_days=10.0)
    alive = 1 / (1 + 0.25 / 15 * (158 / 128) ** 10.5)
    stays_away = (158 / 186) ** 10.5
    assert churn_by_rhythm(x, 28)[0] == pytest.approx(1 - alive * (1 - stays_away))


def test_the_same_silence_means_more_to_a_frequent_customer() -> None:
    """Forty silent days: alarming for a weekly customer, ordinary for a quarterly one."""
    weekly = purchases(*range(1000, 1364, 7))
    quarterly = purchases(*range(1000, 1364, 91), row=1)
    x = seen_at(1405.0, together(weekly, quarterly))
    rise = churn_by_rhythm(x, 28) - churn_by_rhythm(
        seen_at(1365.0, together(weekly, quarterly)), 28
    )
    assert rise[0] > 0.3
    assert rise[1] < 0.1


def test_bands_change_by_elapsed_time_alone() -> None:
    """R2: one weekly customer, no further event, from low to critical."""
    events = purchases(*range(1000, 1203, 7))
    band = np.array([-1], np.int8)
    seen = []
    for day in range(1197, 1400, 7):
        band = band_index(churn_by_rhythm(seen_at(day + 0.75, events), 28), band)
        seen.append(int(band[0]))
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2, 3}


def test_prospects_are_not_assessed() -> None:
    """Without a purchase there is no churn: the number is not defined, and says so."""
    events = columns(time=[DAY_S, 2 * DAY_S], row=[0, 1], kind=[3, 1])
    x = seen_at(3.0, events)
    assert assessable(x).tolist() == [False, True]
    assert np.isnan(churn_by_rhythm(x, 28)).tolist() == [True, False]


@pytest.mark.parametrize(
    ("gap", "silence", "band", "days"),
    [
        (10.0, 3.0, 0, 5.0),
        (10.0, 3.0, 1, 5.0),
        (10.0, 3.0, 2, 1.0),
        (10.0, 28.0, 3, 1.0),
        (10.0, 28.1, 3, LOOK_GONE_DAYS),
        (20.0, 28.1, 3, 10.0),
        (1.0, 3.0, 0, LOOK_DAYS_MIN),
        (300.0, 3.0, 0, LOOK_DAYS_MAX),
        (np.nan, 0.0, 0, LOOK_DAYS_MIN),
        (np.nan, 9.0, 1, 4.5),
        (np.nan, 400.0, 1, LOOK_DAYS_MAX),
        (np.nan, np.nan, 0, LOOK_DAYS_MAX),
    ],
)
def test_next_look(gap: float, silence: float, band: int, days: float) -> None:
    """By rhythm, by silence for a single purchase, daily in the upper bands, always bounded."""
    x = rows(recency_days=silence, gap_mean_days=gap)
    watched = ebbing(x, np.array([band], np.int8), 28.0)
    looked = next_look(x, np.array([5e8]), watched, 28.0)
    assert (looked[0] - 5e8) / DAY_S == pytest.approx(days)


def _auc(left: NDArray[np.bool_], score: Floats) -> float:
    ranks, positive = rankdata(score), left.sum()
    free = ranks[left].sum() - positive * (positive + 1) / 2
    return float(free / (positive * (len(left) - positive)))


@pytest.mark.parametrize(
    ("name", "cutoff", "horizon", "margin"),
    [("cdnow", "1997-12-31", 91, 0.0), ("completejourney", "2017-10-22", 28, 0.04)],
)
def test_ranks_better_than_recency(name: str, cutoff: str, horizon: int, margin: float) -> None:
    """On real histories the own rhythm says more than the silence alone."""
    events = real(name)
    if events is None:
        pytest.skip(f"{name} is not here: set EBBWATCH_DATA to the folder of the data sets")
    at = float(np.datetime64(cutoff, "s").astype(np.int64))
    n = int(events.row.max()) + 1
    x = features(fold(empty(n), events.select(events.time < at)), np.full(n, at))
    ahead = (events.kind == 1) & (events.time >= at) & (events.time < at + horizon * DAY_S)
    left = ~np.isin(np.arange(n), events.row[ahead])
    known = assessable(x)
    rule = _auc(left[known], churn_by_rhythm(x[known], horizon))
    assert rule > _auc(left[known], x[known, feature_index["recency_days"]]) + margin
