"""Blends the trees' log-odds with those of the rhythm: how the score follows from the two.

It only applies three numbers; training chooses them on later cutoffs (`training.fit.blend`).
"""

import msgspec

from services.scoring.core.risk.odds import sigmoid
from shared.kernel.arrays import Floats


class Blend(msgspec.Struct, frozen=True, kw_only=True):
    """log-odds = intercept + slope x trees + rhythm x those of MBG/NBD; (0, 1, 0): the trees."""

    intercept: float = 0.0
    """The level, alike for all customers."""
    slope: float = 1.0
    """Weight of the trees."""
    rhythm: float = 0.0
    """Weight of the rhythm's log-odds; 0 in artefacts that were made before there were blends."""

    def log_odds(self, trees: Floats, rhythm: Floats | float = 0.0) -> Floats:
        """Return the score in log-odds, same shape; `rhythm` is read only where it has weight."""
        score = self.intercept + self.slope * trees
        return score + self.rhythm * rhythm if self.rhythm else score

    def apply(self, trees: Floats, rhythm: Floats | float = 0.0) -> Floats:
        """Return the probability, same shape; in [0, 1] for every finite input."""
        return sigmoid(self.log_odds(trees, rhythm))


TREES_ALONE = Blend()
