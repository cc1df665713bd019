"""Applies the documented rule on a customer's own rhythm, with the interface of a model.

Serves while there is no fitted model; every assessment names it as the method. It learns nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.registry import column
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk import horizons
from services.scoring.core.risk.odds import logit
from services.scoring.core.risk.rhythm import churn_by_rhythm
from shared.contracts.risk import Method
from shared.kernel.arrays import Floats

VERSION: Final = "rule-2"
"""Version of the rule; raise it with every change of the rule's numbers."""


@dataclass(frozen=True, slots=True)
class RuleModel:
    """A Predictor that needs no training; the arithmetic is `core.risk.rhythm`."""

    method: ClassVar[Method] = "rule"
    labels: ClassVar[Labels] = "silence"
    version: ClassVar[str] = VERSION
    feature_set: ClassVar[int] = FEATURE_SET

    horizon_days: int

    def predict(self, x: Floats) -> Floats:
        """Return the probability of silence.

        float64[n, F] -> float64[n]; NaN without a purchase.
        """
        return churn_by_rhythm(x, self.horizon_days)

    def over(self, x: Floats, p: Floats, days: Sequence[int]) -> Floats:
        """Apply the rule over each of `days`: float64[n] -> float64[n, k]."""
        found = {each: churn_by_rhythm(x, each) for each in days}
        found[self.horizon_days] = p
        return horizons.columns(found, self.horizon_days, days)

    def lapse_probability(self, x: Floats, p: Floats, rest: Floats) -> Floats:
        """Apply the rule over the rest of each lapse length, in days: float64[n] -> float64[n]."""
        return churn_by_rhythm(x, rest)

    def explain(self, x: Floats) -> Floats:
        """Return all of the log-odds in one column: the rule reads silence and nothing else.

        Sums to the log-odds as a model's contributions do. The texts for an owner come from
        `core.risk.reasons.rule_reasons`, which also names what the rule does not weigh.
        """
        return in_silence(x, self.predict(x))


def in_silence(x: Floats, p: Floats) -> Floats:
    """Return the log-odds of p as contributions, float64[n, F], all in the silence's column."""
    contributions = np.zeros_like(x)
    column(contributions, "recency_days")[:] = logit(p)
    return contributions
