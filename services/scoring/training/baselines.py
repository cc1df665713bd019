"""What a model must beat: plain recency, turned into a probability.

Stands beside every fitted model in the same table, so that nobody mistakes an easy task for
a good model. It is never used to score.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from services.scoring.core.registry import feature_index
from services.scoring.model.calibration import Calibration
from services.scoring.training.calibrate import fit_line
from services.scoring.training.panel import Floats, Panel


@dataclass(frozen=True, slots=True)
class Recency:
    """Logistic regression on log(1 + days since the last purchase)."""

    line: Calibration

    @classmethod
    def fit(cls, panel: Panel) -> Self:
        """Fit the two numbers to every row of the panel."""
        return cls(fit_line(_score(panel.x), panel.silent))

    def predict(self, x: Floats) -> Floats:
        """Probability of silence. float64[n, F] -> float64[n]."""
        return self.line.apply(_score(x))


def _score(x: Floats) -> Floats:
    return np.log1p(x[:, feature_index["recency_days"]])
