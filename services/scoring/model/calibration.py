"""Converts a raw score to a probability: a line in the log-odds, or no change.

It only applies the line; training measures whether a correction helps.
"""

import msgspec

from services.scoring.core.risk.odds import sigmoid
from shared.kernel.arrays import Floats


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """p = sigmoid(intercept + slope x log-odds), Platt (1999); (0, 1) changes nothing."""

    intercept: float = 0.0
    slope: float = 1.0

    def apply(self, log_odds: Floats) -> Floats:
        """Return the probability, same shape; in [0, 1] for every finite input."""
        return sigmoid(self.intercept + self.slope * log_odds)


IDENTITY = Calibration()
