"""Fits a churn model to a panel: small, strongly regularised trees, checked on later cutoffs.

Settings and number of trees are searched on held-out later cutoffs, the blend is chosen in a
backtest; the final trees then see every row. Rows are never split at random: those of one customer
at neighbouring cutoffs are almost the same.
"""

from dataclasses import dataclass
from typing import Final

import lightgbm

from services.scoring.core.features.contracts import Labels
from services.scoring.training.data.panel import Panel, Progress, no_progress, one_label
from services.scoring.training.fit.backtest import Backtest, backtest
from services.scoring.training.fit.blend import TREES_CHOSEN, Choice, blended, choose
from services.scoring.training.fit.search import search
from services.scoring.training.fit.trees import Parameters, grow, parameters_for
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

SEED: Final = 20_170_326
"""Seed of the training, written into the card; any number would do."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Trees, the chosen blend, and the measurements behind them."""

    booster: lightgbm.Booster
    trees: int
    trees_chosen_by: str
    choice: Choice
    backtest: Backtest
    """The backtest at origins a horizon apart."""
    later: Backtest
    """The backtest at these and at more of the latest cutoffs, to choose among contenders."""
    parameters: Parameters

    def scored(self, past: Backtest) -> Floats:
        """Return the chosen blend's probability of each row of a backtest."""
        return blended(past, self.choice.contender)


def fit(
    panel: Panel,
    *,
    labels: Labels = "silence",
    seed: int = SEED,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Fit:
    """Train on every row of the panel, after choosing on its later cutoffs.

    The same panel, seed and libraries give the same model, whatever `threads` is. Raises
    Invalid when all rows have one label.
    """
    if one_label(panel.silent):
        raise Invalid("panel", "every customer has the same label: nothing can be learned")
    found = search(panel, parameters_for(panel, seed), threads=threads, progress=progress)
    later = backtest(panel, found.parameters, trees=found.trees, threads=threads, progress=progress)
    booster = grow(panel, found.parameters, trees=found.trees, threads=threads, progress=progress)
    return Fit(
        booster=booster,
        trees=found.trees,
        trees_chosen_by=found.chosen_by,
        choice=choose(later, len(panel)) if labels == "silence" else TREES_CHOSEN,
        backtest=later.at_origins(),
        later=later,
        parameters=found.parameters,
    )
