"""The last step from a raw score to a probability: a line in the log-odds, or nothing.

It only applies; whether a correction is worth having is measured in training.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """p = sigmoid(intercept + slope x log-odds), Platt (1999); (0, 1) changes nothing."""

    intercept: float = 0.0
    slope: float = 1.0

    def apply(self, log_odds: Floats) -> Floats:
        """Probability, same shape; in [0, 1] for every finite input."""
        return sigmoid(self.intercept + self.slope * log_odds)


IDENTITY = Calibration()


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + e^-z), without overflow at either end."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e)


def logit(p: Floats, margin: float = 1e-12) -> Floats:
    """log(p / (1 - p)), with p kept `margin` away from 0 and 1."""
    q = np.clip(p, margin, 1.0 - margin)
    return np.log(q) - np.log1p(-q)
