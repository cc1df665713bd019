"""Grows the trees: LightGBM's settings, and the one place that calls its training.

Small trees, strong regularisation, monotone where the domain is certain. The same panel, seed and
libraries give the same trees, whatever the number of threads.
"""

from typing import Any, Final

import lightgbm
import numpy as np

from services.scoring.core.features.registry import FEATURES
from services.scoring.training.data.panel import Panel, Progress, no_progress
from shared.kernel.arrays import Floats

Parameters = dict[str, float | int | str | bool]

TREES_MAX: Final = 200
"""Most trees: with 8 leaves, reasons for 100 customers take about 10 ms; more trees gain
nothing."""
TREES_FALLBACK: Final = 100
"""Trees where the history is too short for early stopping: about what longer histories choose."""
PATIENCE: Final = 30
"""Trees without a better log loss before training stops."""
LEAF_SHARE_MAX: Final = 0.02
"""Largest share of the rows for the least size of a leaf: a small panel could not split
otherwise."""

PARAMETERS: Final[Parameters] = {
    "objective": "binary",
    "num_leaves": 8,
    "learning_rate": 0.05,
    "extra_trees": True,
    "min_data_in_leaf": 200,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
"""Settings, chosen on training cutoffs that end before any test cutoff of the public sets. The
optimum is flat (5 to 15 leaves differ by 0.001 of log loss); random split points helped the
most."""


def parameters_for(panel: Panel, seed: int) -> Parameters:
    """Return the settings for a panel of this size."""
    smallest = min(int(PARAMETERS["min_data_in_leaf"]), max(1, int(len(panel) * LEAF_SHARE_MAX)))
    return {**PARAMETERS, "min_data_in_leaf": smallest, "seed": seed}


def grow(
    panel: Panel,
    parameters: Parameters,
    *,
    trees: int,
    threads: int,
    later: Panel | None = None,
    progress: Progress = no_progress,
    what: str = "trees",
) -> lightgbm.Booster:
    """Grow `trees` trees on every row of the panel; fewer when `later` stops improving."""
    settings: dict[str, Any] = {
        **parameters,
        "num_threads": threads,
        "monotone_constraints": [feature.monotone for feature in FEATURES],
    }
    data = lightgbm.Dataset(panel.x, _target(panel), weight=_weight(panel), params=settings)
    callbacks: list[Any] = [lambda env: progress(what, env.iteration + 1, trees)]
    held_out = []
    if later is not None:
        held_out = [
            lightgbm.Dataset(later.x, _target(later), weight=_weight(later), reference=data)
        ]
        callbacks.append(lightgbm.early_stopping(PATIENCE, verbose=False))
    return lightgbm.train(settings, data, trees, valid_sets=held_out, callbacks=callbacks)


def log_odds(booster: lightgbm.Booster, x: Floats, threads: int) -> Floats:
    """Return the trees' log-odds, before they are blended. float64[n, F] -> float64[n]."""
    return np.asarray(booster.predict(x, raw_score=True, num_threads=threads), dtype=np.float64)


def _target(panel: Panel) -> Floats:
    return panel.silent.astype(np.float64)


def _weight(panel: Panel) -> Floats | None:
    # LightGBM is faster without weights: pass them only where they differ.
    return None if np.all(panel.weight == 1.0) else panel.weight
