"""Backtest: predicts past cutoffs, each by a model from what was known at that time.

Each origin is predicted by trees grown on labels that had matured by then and nothing later,
exactly as the next real prediction will be made; so the residuals are those to expect, and a
correction can be judged as it would be used. Test cutoffs are never used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.odds import sigmoid
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.panel import SUBSETS, Panel, Progress, no_progress, one_label
from services.scoring.training.fit.baselines import NAMES, fit_baselines
from services.scoring.training.fit.trees import Parameters, grow, log_odds
from services.scoring.training.measures.metrics import scores
from shared.kernel.arrays import Floats

Value = TypeVar("Value", bound=np.generic)
Measures = dict[str, dict[str, float | int | None]]

ORIGINS_MAX: Final = 4
"""Most origins: each costs one more training, and a level older than four horizons is not
informative."""
LATER_MAX: Final = 8
"""Further cutoffs, besides the origins, at which contenders are compared: two horizons of them.
Their labels overlap, so they show less than as many origins, but far more than none."""
LEARN_ROWS_MAX: Final = 60_000
"""Rows that a trial learns from, thinned alike over its cutoffs: 0.0005 of log loss against all of
300,000, in a fifth of the time."""
LEARN_CUTOFFS_MIN: Final = 2
"""Least number of matured cutoffs: fewer teach nothing about a later one."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """Predictions at past origins, by what was known at each."""

    rows: Panel
    """The eligible customers of each origin."""
    log_odds: Floats
    """Log-odds of the trees, before they are blended."""
    baselines: Mapping[str, Floats]
    """Name in `baselines.NAMES` -> probability, fitted to the same knowledge as the model."""

    def split(self, values: NDArray[Value]) -> list[NDArray[Value]]:
        """Split values, one per row, by origin, oldest first."""
        if not self.rows.cutoffs:
            return []
        edges = np.searchsorted(self.rows.at, np.arange(1, len(self.rows.cutoffs)))
        return np.split(values, edges)

    def only(self, chosen: Sequence[int]) -> "Backtest":
        """Select the cutoffs at these ascending indices into `rows.cutoffs`."""
        kept = np.isin(self.rows.at, chosen)
        return Backtest(
            rows=self.rows.only(chosen),
            log_odds=self.log_odds[kept],
            baselines={name: p[kept] for name, p in self.baselines.items()},
        )

    def at_origins(self) -> "Backtest":
        """Select the origins, a horizon apart: for uses that must not see a label twice."""
        return self.only(apart(self.rows.cutoffs, self.rows.horizon_days))

    def compared(self, chosen: Floats) -> dict[str, Measures]:
        """Measure each baseline, `rule`, `trees` and `model` by subset, over all origins together.

        `chosen`: the probability of each row by the blend that was chosen, `model`.
        """
        if not len(self.rows):
            return {}
        rule = RuleModel(self.rows.horizon_days).predict(self.rows.x)
        trees = sigmoid(self.log_odds)
        found = {**self.baselines, "rule": rule, "trees": trees, "model": chosen}
        return {name: measures(self.rows, p) for name, p in found.items()}


def origins(panel: Panel) -> list[int]:
    """Return the indices of the cutoffs to predict, oldest first.

    These are the latest ones, and earlier ones a horizon apart, so that each label had matured
    before the next origin.
    """
    able = [at for at, cutoff in enumerate(panel.cutoffs) if learnable(panel.matured(cutoff))]
    spaced = apart([panel.cutoffs[at] for at in able], panel.horizon_days)
    return sorted({*(able[at] for at in spaced), *able[-LATER_MAX:]})


def apart(cutoffs: Sequence[float], horizon_days: int) -> list[int]:
    """Return the indices of the last cutoff and of earlier ones, a horizon apart.

    At most ORIGINS_MAX in all.
    """
    found: list[int] = []
    for at in reversed(range(len(cutoffs))):
        free = not found or cutoffs[at] + horizon_days * DAY_S <= cutoffs[found[-1]]
        if free and len(found) < ORIGINS_MAX:
            found.append(at)
    return found[::-1]


def learnable(panel: Panel) -> bool:
    """Return whether a model can be fitted to these rows: enough cutoffs, and both labels."""
    return len(panel.cutoffs) >= LEARN_CUTOFFS_MIN and not one_label(panel.silent)


def backtest(
    panel: Panel,
    parameters: Parameters,
    *,
    trees: int,
    threads: int,
    progress: Progress = no_progress,
) -> Backtest:
    """Predict the `origins` of the panel, each from what had matured by then."""
    chosen = origins(panel)
    scored: list[Floats] = []
    simple: dict[str, list[Floats]] = {name: [] for name in NAMES}
    for step, at in enumerate(chosen):
        known = panel.matured(panel.cutoffs[at])
        x = panel.between(at, at + 1).x
        booster = grow(thinned(known), parameters, trees=trees, threads=threads)
        scored.append(log_odds(booster, x, threads))
        for name, baseline in fit_baselines(known, x).items():
            simple[name].append(baseline.predict(x))
        progress("backtest", step + 1, len(chosen))
    return Backtest(
        rows=panel.only(chosen),
        log_odds=np.concatenate([np.empty(0), *scored]),
        baselines={name: np.concatenate([np.empty(0), *of]) for name, of in simple.items()},
    )


def thinned(panel: Panel) -> Panel:
    """Thin to at most LEARN_ROWS_MAX rows: the same share of every cutoff. Deterministic."""
    if len(panel) <= LEARN_ROWS_MAX:
        return panel
    kept = np.zeros(len(panel), dtype=np.bool_)
    kept[np.random.default_rng(len(panel)).permutation(len(panel))[:LEARN_ROWS_MAX]] = True
    return panel.where(kept)


def measures(panel: Panel, p: Floats) -> Measures:
    """Compute every measure on every subset of the panel's rows, for their probabilities."""
    found: Measures = {}
    for name in SUBSETS:
        rows = panel.subset(name)
        found[name] = scores(panel.silent[rows], p[rows])
    return found
