"""Measures a churn probability: ranking, level and sharpness.

The positive class is silence (no purchase within the horizon). Every function takes `silent`:
bool[n] and `p`: float64[n], and is exact under ties. No model is chosen here.
"""

import numpy as np
from sklearn.metrics import average_precision_score

from services.scoring.core.monitoring.metrics import calibration_error, lift, log_loss, roc_auc
from shared.kernel.arrays import Flags, Floats

ECE_BINS = 15
"""Number of equal-mass bins: enough to see a bend, few enough that a test cutoff of 2,469 customers
keeps about 165 in each (a perfectly calibrated model then still shows about 0.01)."""


def scores(silent: Flags, p: Floats) -> dict[str, float | int | None]:
    """Compute all measures on one set of customers; None where a measure is not defined."""
    found = {
        "rows": len(silent),
        "base_rate": float(silent.mean()) if len(silent) else float("nan"),
        "roc_auc": roc_auc(silent, p),
        "pr_auc": pr_auc(silent, p),
        "brier": brier(silent, p),
        "log_loss": log_loss(silent, p),
        "ece": calibration_error(silent, p, bins=ECE_BINS),
        "lift_at_10": lift(silent, p),
    }
    return {name: None if np.isnan(value) else value for name, value in found.items()}


def pr_auc(silent: Flags, p: Floats) -> float:
    """Return the average precision: precision at each threshold, weighted by the recall it adds.

    Customers with one score enter together. NaN without a positive.
    """
    return float(average_precision_score(silent, p)) if silent.any() else float("nan")


def brier(silent: Flags, p: Floats) -> float:
    """Return the mean squared error of the probability (Brier 1950)."""
    return float(np.mean((p - silent) ** 2)) if len(p) else float("nan")
