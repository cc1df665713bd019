"""Decides by measurement whether to correct the level or the slope of the log-odds.

Seasons move the level of churn, and a correction learned on last month can make the next one worse
(errors are in the level, seldom in the shape); so a correction is made only if the same procedure
helped at every past origin. Unmatured labels are never read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.scoring.core.monitoring.metrics import log_loss
from services.scoring.core.risk.odds import sigmoid
from services.scoring.model.calibration import IDENTITY, Calibration
from shared.kernel.arrays import Flags, Floats

NEWTON_STEPS_MAX = 50
"""Most steps of Newton's method, which settles on two parameters in about eight."""
STEP_MIN = 1e-10
"""Least step, log-odds; a smaller one changes no probability visibly."""
RIDGE = 1e-9
"""Keeps the equations solvable when every score is the same."""
ORIGINS_MIN = 3
"""Least number of origins, which gives two trials: one success may be chance."""


@dataclass(frozen=True, slots=True)
class CalibrationDecision:
    """The calibration to use, and why in one sentence."""

    calibration: Calibration
    reason: str


def decide(log_odds: Sequence[Floats], silent: Sequence[Flags]) -> CalibrationDecision:
    """Choose among no correction, an intercept and Platt's line.

    There is one pair of arrays for each past origin, oldest first, each with labels that had
    matured before the next. At every origin but the first, a correction is fitted to all earlier
    ones and tried there; it is adopted only if it lowered the log loss each time, and is then
    fitted to all origins.
    """
    if len(silent) < ORIGINS_MIN:
        return CalibrationDecision(
            IDENTITY, f"none: fewer than {ORIGINS_MIN} past origins to judge one by"
        )
    later = range(1, len(silent))
    plain = [log_loss(silent[i], IDENTITY.apply(log_odds[i])) for i in later]
    tried, adopted, best = [], IDENTITY, float(np.mean(plain))
    for name, slope in (("intercept", False), ("intercept and slope", True)):
        lines = [_line(log_odds[:i], silent[:i], slope=slope) for i in later]
        found = [
            log_loss(silent[i], line.apply(log_odds[i]))
            for i, line in zip(later, lines, strict=True)
        ]
        mean = float(np.mean(found))
        tried.append(f"{name} {mean - float(np.mean(plain)):+.5f}")
        helped = all(after < before for before, after in zip(plain, found, strict=True))
        line = _line(log_odds, silent, slope=slope)
        if helped and line.slope > 0.0 and mean < best:
            adopted, best = line, mean
    verdict = (
        "none: no correction helped at every origin"
        if adopted is IDENTITY
        else f"log-odds x {adopted.slope:.4f} {adopted.intercept:+.4f}"
    )
    return CalibrationDecision(adopted, f"{verdict} (mean change of log loss: {', '.join(tried)})")


def fit_line(score: Floats, silent: Flags, *, slope: bool = True) -> Calibration:
    """Fit the maximum-likelihood line from a score to log-odds (Platt 1999), by Newton's method.

    With `slope=False` the slope stays 1. Returns no correction when only one class is present: its
    best line lies at infinity.
    """
    if silent.all() or not silent.any():
        return IDENTITY
    design = np.stack([np.ones_like(score), score])
    free = 2 if slope else 1
    line = np.array([0.0, 1.0])
    loss = _deviance(line, score, silent)
    for _ in range(NEWTON_STEPS_MAX):
        p = sigmoid(line @ design)
        gradient = design[:free] @ (silent - p)
        curvature = (design[:free] * (p * (1.0 - p))) @ design[:free].T
        step = np.zeros(2)
        step[:free] = np.linalg.solve(curvature + RIDGE * np.eye(free), gradient)
        # Far from the optimum a whole Newton step can overshoot for ever: halve it until it helps.
        while (after := _deviance(line + step, score, silent)) > loss:
            step /= 2.0
            if np.abs(step).max() < STEP_MIN:
                break
        else:
            line, loss = line + step, after
        if np.abs(step).max() < STEP_MIN:
            break
    return Calibration(intercept=float(line[0]), slope=float(line[1]))


def _deviance(line: Floats, score: Floats, silent: Flags) -> float:
    z = line[0] + line[1] * score
    return float(np.mean(np.logaddexp(0.0, z) - silent * z))


def _line(score: Sequence[Floats], silent: Sequence[Flags], *, slope: bool) -> Calibration:
    return fit_line(np.concatenate(score), np.concatenate(silent), slope=slope)
