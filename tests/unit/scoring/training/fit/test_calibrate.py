"""A correction is adopted only where the same procedure helped every time before."""

import numpy as np
import pytest

from services.scoring.core.risk.odds import sigmoid
from services.scoring.model.calibration import IDENTITY
from services.scoring.training.fit.calibrate import decide, fit_line
from shared.kernel.arrays import Flags, Floats


def _origins(*truth: tuple[float, float], n: int = 4_000) -> tuple[list[Floats], list[Flags]]:
    """Return scores and labels for each (intercept, slope).

    The labels follow intercept + slope x score.
    """
    random = np.random.default_rng(11)
    scores = [random.normal(-1, 1.5, n) for _ in truth]
    silent = [
        random.random(n) < sigmoid(a + b * z) for (a, b), z in zip(truth, scores, strict=True)
    ]
    return scores, silent


def test_a_calibrated_score_is_left_alone() -> None:
    decision = decide(*_origins((0, 1), (0, 1), (0, 1), (0, 1)))
    assert decision.calibration is IDENTITY
    assert decision.reason.startswith("none: no correction helped")


def test_a_level_that_is_always_off_is_corrected() -> None:
    decision = decide(*_origins((0.8, 1), (0.8, 1), (0.8, 1)))
    assert decision.calibration.intercept == pytest.approx(0.8, abs=0.1)
    assert decision.calibration.slope == pytest.approx(1.0, abs=0.1)


def test_a_slope_that_is_always_off_is_corrected() -> None:
    decision = decide(*_origins((0, 0.4), (0, 0.4), (0, 0.4)))
    assert decision.calibration.slope == pytest.approx(0.4, abs=0.05)


def test_a_level_that_wanders_is_left_alone() -> None:
    """The level rises one season and falls the next: each correction makes the next one worse."""
    assert decide(*_origins((0.6, 1), (-0.6, 1), (0.6, 1))).calibration is IDENTITY


def test_two_origins_are_too_few_to_judge_by() -> None:
    decision = decide(*_origins((0.8, 1), (0.8, 1)))
    assert decision.calibration is IDENTITY
    assert "fewer than 3" in decision.reason


def test_no_origins_at_all() -> None:
    assert decide([], []).calibration is IDENTITY


def test_the_line_is_the_maximum_of_the_likelihood() -> None:
    """At the optimum the mean prediction equals the mean label, also weighted by the score."""
    (score,), (silent,) = _origins((-0.5, 1.7))
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


def test_the_intercept_alone_keeps_the_slope() -> None:
    (score,), (silent,) = _origins((0.5, 1.3))
    line = fit_line(score, silent, slope=False)
    assert line.slope == 1.0
    assert (silent - line.apply(score)).sum() == pytest.approx(0, abs=1e-5)


def test_one_class_has_no_line() -> None:
    assert fit_line(np.array([1.0, 2.0]), np.array([True, True])) is IDENTITY


def test_equal_scores_still_get_their_level() -> None:
    silent = np.array([True, False, False, False])
    p = fit_line(np.zeros(4), silent).apply(np.zeros(4))
    np.testing.assert_allclose(p, 0.25, atol=1e-6)
