"""A small fitted model, trained in the test: real trees and artefact, meaningless forecasts."""

from functools import cache

import lightgbm
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.model.blending import Blend
from services.scoring.model.card import ModelCard
from services.scoring.model.churn_model import ChurnModel, assemble

ROWS = 400


@cache
def tiny_model(seed: int = 1, horizon_days: int = 28, labels: Labels = "silence") -> ChurnModel:
    """Trains trees on random rows, a tenth of the values missing; the label follows the silence.

    Trained once for each set of arguments: the result is the same and never changed.
    """
    random = np.random.default_rng(seed)
    x = random.gamma(1.0, 20.0, (ROWS, len(FEATURES)))
    silent = x[:, 0] + random.normal(0, 5, ROWS) > 20
    x[random.random(x.shape) < 0.1] = np.nan
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_leaves": 7, "seed": seed, "num_threads": 1},
        lightgbm.Dataset(x, silent.astype(float)),
        num_boost_round=20,
    )
    card = ModelCard(
        horizon_days=horizon_days,
        feature_set=FEATURE_SET,
        labels=labels,
        cutoffs=[],
        labels_end="",
        rows=ROWS,
        rows_thinned=0,
        customers=ROWS,
        base_rate=float(silent.mean()),
        validation_cutoffs=[],
        validation={},
        trees=20,
        trees_chosen_by="fixed: a test",
        parameters={},
        seed=seed,
        data_fingerprint="",
        libraries={},
    )
    return assemble(booster, Blend(intercept=-0.1, slope=0.9), card)
