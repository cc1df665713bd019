"""Decides which model-monitoring measures raise an alarm.

The three alarms and their thresholds are in one place. This module never acts on an alarm.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from services.scoring.core.monitoring.drift import SCORE, Drift
from services.scoring.core.monitoring.outcomes import GroupQuality

LEVEL_MIN: Final = 0.05
"""Difference of expected and observed churn worth an alarm: an owner's tenth task."""
DEVIATIONS: Final = 3.0
"""Standard errors that a difference must also exceed: by chance once in 370 weeks."""
RANKING_MIN: Final = 0.03
"""ROC-AUC lost against the backtest: about the distance between a model and plain recency."""
IMPORTANCE_MIN: Final = 0.25
"""Share of the model's gain that lies in drifted features. Some features always drift (tenure
grows with the calendar), and drift of a feature that the model hardly uses does not matter."""
ALARMS: Final = ("drift", "level", "ranking")


def alarms(
    drifts: Sequence[Drift], importance: Mapping[str, float], latest: GroupQuality | None,
    trained_auc: float | None,
) -> dict[str, str]:  # fmt: skip
    """Return each of ALARMS with its reason in one sentence, empty where there is no alarm.

    `latest`: the newest matured outcome of the champion's scores over all customers.
    """
    return {
        "drift": _drift(drifts, importance),
        "level": "" if latest is None else _level(latest),
        "ranking": "" if latest is None else _ranking(latest, trained_auc),
    }


def _drift(drifts: Sequence[Drift], importance: Mapping[str, float]) -> str:
    moved = [d for d in drifts if d.drifted]
    if any(d.feature == SCORE for d in moved):
        score = next(d for d in moved if d.feature == SCORE)
        return f"the score's distribution moved: PSI {score.psi:.2f}, KS {score.ks:.2f}"
    share = sum(importance.get(d.feature, 0.0) for d in moved)
    if share >= IMPORTANCE_MIN:
        names = sorted(moved, key=lambda d: -importance.get(d.feature, 0.0))[:3]
        return (
            f"features with {share:.0%} of the model's gain moved: "
            f"{', '.join(f'{d.feature} (PSI {d.psi:.2f})' for d in names)}"
        )
    return ""


def _level(latest: GroupQuality) -> str:
    gap = latest.observed - latest.expected
    error = float(np.sqrt(max(latest.observed * (1 - latest.observed), 1e-9) / latest.rows))
    if abs(gap) < LEVEL_MIN or abs(gap) < DEVIATIONS * error:
        return ""
    return f"{latest.observed:.1%} bought nothing, {latest.expected:.1%} were expected to"


def _ranking(latest: GroupQuality, trained_auc: float | None) -> str:
    if trained_auc is None or trained_auc - latest.roc_auc < RANKING_MIN:
        return ""
    return f"ROC-AUC {latest.roc_auc:.3f}, in the backtest {trained_auc:.3f}"
