"""Curves of the card: start, end and order agree with their measures."""

import numpy as np
import pytest

from services.scoring.core.monitoring.metrics import roc_auc
from services.scoring.training.measures import curves


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    p = random.uniform(0, 1, 3_000).round(2)
    return random.random(3_000) < p, p


def test_the_area_under_the_drawn_roc_is_the_measure(
    scored: tuple[np.ndarray, np.ndarray],
) -> None:
    x, y = curves.roc(*scored)
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(*scored), abs=1e-9)


def test_curves_begin_and_end_where_they_must(scored: tuple[np.ndarray, np.ndarray]) -> None:
    silent, p = scored
    for x, y in (curves.roc(silent, p), curves.gain(silent, p, np.ones(len(p)))):
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert np.all(np.diff(x) >= 0)
        assert np.all(np.diff(y) >= 0)
    recall, precision = curves.precision_recall(silent, p)
    assert recall[-1] == 1.0
    assert precision[-1] == pytest.approx(silent.mean())


def test_a_right_probability_lies_on_the_diagonal(scored: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, observed = curves.reliability(*scored)
    np.testing.assert_allclose(observed, predicted, atol=0.07)


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    p = np.linspace(0, 1, 5_000)
    x, y = curves.gain(p > 0.5, p, p)
    assert len(x) <= curves.POINTS_MAX + 2
    assert (x[-1], y[-1]) == (1, 1)


@pytest.mark.parametrize("silent", [np.zeros(3, bool), np.ones(3, bool)])
def test_one_label_draws_something_finite(silent: np.ndarray) -> None:
    p = np.array([0.1, 0.2, 0.2])
    for x, y in (curves.roc(silent, p), curves.precision_recall(silent, p),
                 curves.gain(silent, p, np.ones(3)), curves.reliability(silent, p)):  # fmt: skip
        assert np.isfinite(x).all()
        assert np.isfinite(y).all()
