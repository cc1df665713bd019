"""A line from a score to log-odds: logistic regression on one column."""

import numpy as np
import pytest

from services.scoring.core.risk.odds import sigmoid
from services.scoring.model.blending import TREES_ALONE
from services.scoring.training.fit.line import fit_line
from shared.kernel.arrays import Flags, Floats


def _scored(intercept: float, slope: float, n: int = 4_000) -> tuple[Floats, Flags]:
    """Return scores, and labels that follow intercept + slope x score."""
    random = np.random.default_rng(11)
    score = random.normal(-1, 1.5, n)
    return score, random.random(n) < sigmoid(intercept + slope * score)


def test_the_line_is_the_maximum_of_the_likelihood() -> None:
    """At the optimum the mean prediction equals the mean label, also weighted by the score."""
    score, silent = _scored(-0.5, 1.7)
    line = fit_line(score, silent)
    rest = silent - line.apply(score)
    assert rest.sum() == pytest.approx(0, abs=1e-5)
    assert (rest * score).sum() == pytest.approx(0, abs=1e-5)


def test_the_line_is_found_from_far_away() -> None:
    """Scores of 5 to 7 start at a probability of 0.99; whole Newton steps would swing for ever."""
    random = np.random.default_rng(3)
    score = random.uniform(5, 7, 3_000)
    silent = random.random(3_000) < sigmoid(0.8 * score - 5)
    line = fit_line(score, silent)
    assert line.slope == pytest.approx(0.8, abs=0.2)
    assert (silent - line.apply(score)).sum() == pytest.approx(0, abs=1e-4)


def test_one_class_has_no_line() -> None:
    assert fit_line(np.array([1.0, 2.0]), np.array([True, True])) is TREES_ALONE


def test_equal_scores_still_get_their_level() -> None:
    silent = np.array([True, False, False, False])
    p = fit_line(np.zeros(4), silent).apply(np.zeros(4))
    np.testing.assert_allclose(p, 0.25, atol=1e-6)
