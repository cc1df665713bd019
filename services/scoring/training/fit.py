"""From a panel to a churn model: small, strongly regularised trees, checked on later cutoffs.

The number of trees is chosen on held-out later cutoffs, the calibration judged in a backtest;
the final trees then see every row. It never draws a random split of rows: those of one
customer at neighbouring cutoffs are almost the same.
"""

from dataclasses import dataclass
from typing import Final

import lightgbm

from services.scoring.model.calibration import Calibration
from services.scoring.training.backtest import Backtest, backtest, learnable
from services.scoring.training.calibrate import decide
from services.scoring.training.panel import Panel, Progress, no_progress
from services.scoring.training.trees import (
    TREES_FALLBACK,
    TREES_MAX,
    Parameters,
    grow,
    parameters_for,
)
from shared.kernel.errors import Invalid

SEED: Final = 20_170_326
"""Any number does; this one is written into the card."""
HELD_OUT_SHARE: Final = 0.25
"""Of the cutoffs, the latest, to stop the trees on."""
HELD_OUT_MAX: Final = 8
"""More would push the trained part too far into the past."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Trees, calibration, and what was measured on the way to them."""

    booster: lightgbm.Booster
    trees: int
    trees_chosen_by: str
    calibration: Calibration
    calibration_reason: str
    backtest: Backtest
    """At origins a horizon apart."""
    later: Backtest
    """At these and at more of the latest cutoffs, to choose among contenders."""
    parameters: Parameters


def fit(
    panel: Panel, *, seed: int = SEED, threads: int = 1, progress: Progress = no_progress
) -> Fit:
    """Train on every row of the panel, after choosing on its later cutoffs.

    The same panel, seed and libraries give the same model, whatever `threads` is. Raises
    Invalid when all rows have one label.
    """
    if panel.silent.all() or not panel.silent.any():
        raise Invalid("panel", "every customer has the same label: nothing can be learned")
    parameters = parameters_for(panel, seed)
    start = held_out_from(panel)
    if start is None:
        trees, chosen_by = TREES_FALLBACK, "fixed: too few cutoffs to hold later ones out"
    else:
        held_out = panel.between(start, len(panel.cutoffs))
        trial = grow(
            panel.matured(held_out.cutoffs[0]),
            parameters,
            trees=TREES_MAX,
            threads=threads,
            later=held_out,
            progress=progress,
            what="trial trees",
        )
        trees = trial.best_iteration
        chosen_by = f"early stopping on the latest {len(held_out.cutoffs)} cutoffs"
    later = backtest(panel, parameters, trees=trees, threads=threads, progress=progress)
    past = later.at_origins()
    decision = decide(*past.by_origin())
    booster = grow(panel, parameters, trees=trees, threads=threads, progress=progress)
    return Fit(
        booster=booster,
        trees=trees,
        trees_chosen_by=chosen_by,
        calibration=decision.calibration,
        calibration_reason=decision.reason,
        backtest=past,
        later=later,
        parameters=parameters,
    )


def held_out_from(panel: Panel) -> int | None:
    """Index of the first held-out cutoff, or None when the history is too short.

    The latest quarter of the cutoffs is held out, less if need be, so that what is learned
    before the first of them had matured by then.
    """
    number = len(panel.cutoffs)
    wanted = min(HELD_OUT_MAX, max(1, round(number * HELD_OUT_SHARE)))
    for start in range(number - wanted, number):
        if learnable(panel.matured(panel.cutoffs[start])):
            return start
    return None
