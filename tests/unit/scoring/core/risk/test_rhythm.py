"""The rule without a model recognises a late customer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from services.scoring.core.features.compute import feature_index, features
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk.rhythm import assessable, churn_by_rhythm
from shared.kernel.arrays import Flags, Floats
from tests.unit.scoring.core.feature_rows import rows, seen_at
from tests.unit.scoring.core.histories import columns, purchases, real, together


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
    """R2: with elapsed time alone the risk only rises; with a longer horizon it falls."""
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


def test_prospects_are_not_assessed() -> None:
    """Without a purchase there is no churn: the number is not defined, and is marked so."""
    events = columns(time=[DAY_S, 2 * DAY_S], row=[0, 1], kind=[3, 1])
    x = seen_at(3.0, events)
    assert assessable(x).tolist() == [False, True]
    assert np.isnan(churn_by_rhythm(x, 28)).tolist() == [True, False]


def _auc(left: Flags, score: Floats) -> float:
    ranks, positive = rankdata(score), left.sum()
    free = ranks[left].sum() - positive * (positive + 1) / 2
    return float(free / (positive * (len(left) - positive)))


@pytest.mark.public_sets
@pytest.mark.parametrize(
    ("name", "cutoff", "horizon", "margin"),
    [("cdnow", "1997-12-31", 91, 0.0), ("completejourney", "2017-10-22", 28, 0.04)],
)
def test_ranks_better_than_recency(name: str, cutoff: str, horizon: int, margin: float) -> None:
    """On real histories the own rhythm ranks better than the silence alone."""
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
