"""Fits a line from one score to log-odds: logistic regression on a single column."""

import numpy as np

from services.scoring.core.risk.odds import sigmoid
from services.scoring.model.blending import TREES_ALONE, Blend
from services.scoring.training.data.panel import one_label
from shared.kernel.arrays import Flags, Floats

NEWTON_STEPS_MAX = 50
"""Most steps of Newton's method, which settles on two parameters in about eight."""
STEP_MIN = 1e-10
"""Least step, log-odds; a smaller one changes no probability visibly."""
RIDGE = 1e-9
"""Keeps the equations solvable when every score is the same."""


def fit_line(score: Floats, silent: Flags) -> Blend:
    """Fit the maximum-likelihood line from a score to log-odds (Platt 1999), by Newton's method.

    Returns the score itself when only one class is present: its best line lies at infinity.
    """
    if one_label(silent):
        return TREES_ALONE
    design = np.stack([np.ones_like(score), score])
    line = np.array([0.0, 1.0])
    loss = _deviance(line, score, silent)
    for _ in range(NEWTON_STEPS_MAX):
        p = sigmoid(line @ design)
        gradient = design @ (silent - p)
        curvature = (design * (p * (1.0 - p))) @ design.T
        step = np.linalg.solve(curvature + RIDGE * np.eye(2), gradient)
        # Far from the optimum a whole Newton step can overshoot for ever: halve it until it helps.
        while (after := _deviance(line + step, score, silent)) > loss:
            step /= 2.0
            if np.abs(step).max() < STEP_MIN:
                break
        else:
            line, loss = line + step, after
        if np.abs(step).max() < STEP_MIN:
            break
    return Blend(intercept=float(line[0]), slope=float(line[1]))


def _deviance(line: Floats, score: Floats, silent: Flags) -> float:
    z = line[0] + line[1] * score
    return float(np.mean(np.logaddexp(0.0, z) - silent * z))
