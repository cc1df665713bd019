"""Paired bootstrap: the correct difference, honest widths, the same result each time."""

import numpy as np
import pytest

from services.scoring.core.monitoring.metrics import Ranking, log_loss, roc_auc
from services.scoring.training.measures.paired_bootstrap import Gains, Rows, gains

N = 3_000


def _rows(seed: int = 1) -> tuple[Rows, np.ndarray]:
    random = np.random.default_rng(seed)
    p = random.beta(0.8, 0.8, N)
    rows = Rows(random.random(N) < p, random.integers(0, 900, N), np.ones(N))
    return rows, p


def _blurred(p: np.ndarray, by: float, seed: int = 2) -> np.ndarray:
    return np.clip(p + np.random.default_rng(seed).normal(0, by, len(p)), 0.01, 0.99)


def _ends(found: Gains) -> tuple[float, float, float]:
    it = found.log_loss
    assert it.low is not None
    assert it.mean is not None
    assert it.high is not None
    return it.low, it.mean, it.high


def test_the_means_are_the_differences_of_the_measures() -> None:
    rows, p = _rows()
    theirs = _blurred(p, 0.2)
    found = gains(rows, p, theirs, 0.95, seed=1)
    assert found.log_loss.mean == pytest.approx(
        log_loss(rows.silent, theirs) - log_loss(rows.silent, p), abs=1e-9
    )
    assert found.roc_auc.mean == pytest.approx(
        roc_auc(rows.silent, p) - roc_auc(rows.silent, theirs), abs=1e-9
    )


def test_against_itself_nothing_is_gained() -> None:
    rows, p = _rows()
    assert _ends(gains(rows, p, p, 0.95, seed=1)) == (0.0, 0.0, 0.0)


def test_the_better_one_is_surely_better_and_the_other_way_round() -> None:
    rows, p = _rows()
    worse = _blurred(p, 0.2)
    assert _ends(gains(rows, p, worse, 0.95, seed=1))[0] > 0
    assert _ends(gains(rows, worse, p, 0.95, seed=1))[2] < 0


def test_rows_of_one_customer_are_drawn_together() -> None:
    """Ten copies of each row are not ten times the evidence."""
    rows, p = _rows()
    copied = Rows(np.tile(rows.silent, 10), np.tile(rows.customer, 10), np.ones(10 * N))
    once = _ends(gains(rows, p, _blurred(p, 0.1), 0.95, seed=1))
    again = _ends(gains(copied, np.tile(p, 10), np.tile(_blurred(p, 0.1), 10), 0.95, seed=1))
    assert again[2] - again[0] == pytest.approx(once[2] - once[0], rel=1e-6)


def test_weights_are_counts_and_ties_count_half() -> None:
    silent = np.array([True, False, True, False, True])
    p = np.array([0.2, 0.2, 0.7, 0.5, 0.5])
    weight = np.array([2, 1, 1, 3, 2])
    spread = np.repeat(np.arange(5), weight)
    assert Ranking(silent, p).auc(weight.astype(float)) == pytest.approx(
        roc_auc(silent[spread], p[spread])
    )


def test_one_label_has_no_ranking() -> None:
    rows = Rows(np.ones(50, bool), np.arange(50), np.ones(50))
    found = gains(rows, np.full(50, 0.9), np.full(50, 0.8), 0.95, seed=1)
    assert found.roc_auc.mean is None
    assert found.log_loss.low is not None


def test_the_same_seed_gives_the_same_interval() -> None:
    rows, p = _rows()
    assert gains(rows, p, _blurred(p, 0.1), 0.95, 7) == gains(rows, p, _blurred(p, 0.1), 0.95, 7)
