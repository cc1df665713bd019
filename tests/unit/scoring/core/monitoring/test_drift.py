"""Drift: no alarm for the same customers, one for others, and none where there are few."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from services.scoring.core.monitoring.alarms import alarms
from services.scoring.core.monitoring.drift import (
    PSI_MIN,
    ROWS_MIN,
    SCORE,
    Drift,
    drift,
    psi,
    two_sample,
)
from services.scoring.core.monitoring.outcomes import GroupQuality

RANDOM = np.random.default_rng(1)
REFERENCE = RANDOM.gamma(2.0, 10.0, 2_000)
SAME = RANDOM.gamma(2.0, 10.0, 5_000)
OTHER = RANDOM.gamma(2.0, 20.0, 5_000)


def test_the_same_customers_have_not_drifted() -> None:
    found = drift("recency_days", REFERENCE, SAME, 80)
    assert found.psi < 0.02
    assert not found.drifted


def test_other_customers_have() -> None:
    found = drift("recency_days", REFERENCE, OTHER, 80)
    assert found.psi > PSI_MIN
    assert found.p_value < 1e-10
    assert found.drifted


def test_what_became_missing_has_drifted() -> None:
    gone = SAME.copy()
    gone[: len(gone) // 2] = np.nan
    found = drift("survey_score", REFERENCE, gone, 80)
    assert found.drifted
    assert found.ks == pytest.approx(0.5, abs=0.05)
    assert not drift("survey_score", np.full(2_000, np.nan), np.full(900, np.nan), 80).drifted


def test_few_rows_never_alarm() -> None:
    few = OTHER[: ROWS_MIN - 1]
    assert psi(REFERENCE, few) > PSI_MIN
    assert not drift("recency_days", REFERENCE, few, 80).drifted


def test_a_large_shift_that_may_be_chance_and_a_sure_one_that_is_small_are_none() -> None:
    small = drift("recency_days", REFERENCE, SAME * 1.15, 80)
    assert small.p_value < 1e-6
    assert not small.drifted


def test_psi_is_the_textbook_sum() -> None:
    """Two bins of 50 % each that became 25 % and 75 %."""
    reference = np.repeat([0.0, 1.0], 500)
    current = np.repeat([0.0, 1.0], [250, 750])
    assert psi(reference, current) == pytest.approx(
        (0.25 - 0.5) * np.log(0.5) + (0.75 - 0.5) * np.log(1.5), rel=1e-3
    )
    assert psi(reference, np.empty(0)) == 0.0


@pytest.mark.parametrize("current", [SAME, OTHER, np.round(SAME)])
def test_the_two_sample_test_is_scipys(current: np.ndarray) -> None:
    distance, p = two_sample(REFERENCE, current)
    other = ks_2samp(REFERENCE, current, method="asymp")
    assert distance == pytest.approx(other.statistic)
    # SciPy's asymptotic form rounds the effective size; both give the same value.
    assert p == pytest.approx(other.pvalue, rel=0.25, abs=1e-12)


def _drift(feature: str, *, drifted: bool = True) -> Drift:
    return Drift(feature, 0.4, 0.3, 1e-9, 5_000, drifted)


GOOD = GroupQuality("all", 2_000, 0.20, 0.21, 0.80, 0.4, 0.02, 2.0)


def test_drift_alarms_by_what_the_model_reads() -> None:
    """Tenure always drifts, and the model hardly uses it: no alarm.

    A drift of the score always alarms.
    """
    importance = {"recency_days": 0.5, "tenure_days": 0.02}
    assert alarms([_drift("tenure_days")], importance, None, None)["drift"] == ""
    found = alarms([_drift("recency_days"), _drift("tenure_days")], importance, None, None)
    assert found["drift"].startswith("features with 52% of the model's gain moved: recency_days")
    assert "PSI 0.40" in alarms([_drift(SCORE)], {}, None, None)["drift"]
    assert alarms([_drift(SCORE, drifted=False)], {}, None, None)["drift"] == ""


def test_level_and_ranking_alarm_beyond_chance_only() -> None:
    assert alarms([], {}, GOOD, 0.81) == {"drift": "", "level": "", "ranking": ""}
    off = GroupQuality("all", 2_000, 0.35, 0.21, 0.75, 0.4, 0.1, 2.0)
    found = alarms([], {}, off, 0.81)
    assert found["level"] == "35.0% bought nothing, 21.0% were expected to"
    assert found["ranking"] == "ROC-AUC 0.750, in the backtest 0.810"
    few = GroupQuality("all", 40, 0.35, 0.21, 0.80, 0.4, 0.1, 2.0)
    assert alarms([], {}, few, None)["level"] == ""
