"""Chooses the trees' settings and number from a small fixed list under a fixed budget.

Each setting is grown on what had matured before the latest cutoffs and stopped by them. The optimum
is flat, so a setting replaces the usual one only if it is clearly better. Rows are never split at
random: those of one customer at neighbouring cutoffs are almost the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.scoring.training.data.panel import Panel, Progress, no_progress
from services.scoring.training.fit.backtest import learnable, thinned
from services.scoring.training.fit.trees import (
    TREES_FALLBACK,
    TREES_MAX,
    Parameters,
    grow,
)

HELD_OUT_SHARE: Final = 0.25
"""Share of the cutoffs, the latest, that is held out to stop the trees on."""
HELD_OUT_MAX: Final = 8
"""Most held-out cutoffs: more would push the trained part too far into the past."""
USUAL: Final = "the usual settings"
SETTINGS: Final[Mapping[str, Parameters]] = {
    USUAL: {},
    "5 leaves": {"num_leaves": 5},
    "15 leaves, held back more": {"num_leaves": 15, "lambda_l2": 50.0},
}
"""Settings to try: three trials of at most TREES_MAX trees on a bounded number of rows."""
GAIN_MIN: Final = 0.0005
"""Nats of log loss by which another setting must be better: less is the noise of a seed."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Settings for all rows, and how they were chosen."""

    parameters: Parameters
    trees: int
    chosen_by: str


def search(
    panel: Panel,
    parameters: Parameters,
    *,
    threads: int,
    progress: Progress = no_progress,
) -> SearchResult:
    """Return the setting and the number of trees with the lowest log loss on the latest cutoffs."""
    start = held_out_from(panel)
    if start is None:
        why = "fixed: too few cutoffs to hold later ones out"
        return SearchResult(parameters, TREES_FALLBACK, why)
    held_out = panel.between(start, len(panel.cutoffs))
    known, later = thinned(panel.matured(held_out.cutoffs[0])), thinned(held_out)
    tried: dict[str, tuple[float, int]] = {}
    for name, change in SETTINGS.items():
        trial = grow(
            known,
            {**parameters, **change},
            trees=TREES_MAX,
            threads=threads,
            later=later,
            progress=progress,
            what="trial trees",
        )
        tried[name] = (trial.best_score["valid_0"]["binary_logloss"], trial.best_iteration)
    best = min(tried, key=lambda name: tried[name])
    if tried[best][0] > tried[USUAL][0] - GAIN_MIN:
        best = USUAL
    losses = ", ".join(f"{name} {loss:.4f}" for name, (loss, _) in tried.items())
    return SearchResult(
        parameters={**parameters, **SETTINGS[best]},
        trees=tried[best][1],
        chosen_by=f"early stopping on the latest {len(held_out.cutoffs)} cutoffs with {best}; "
        f"log loss: {losses}",
    )


def held_out_from(panel: Panel) -> int | None:
    """Return the index of the first held-out cutoff, or None when the history is too short.

    The latest quarter of the cutoffs is held out, less if necessary, so that what is learned before
    the first of them had matured by then.
    """
    number = len(panel.cutoffs)
    count = min(HELD_OUT_MAX, max(1, round(number * HELD_OUT_SHARE)))
    for start in range(number - count, number):
        if learnable(panel.matured(panel.cutoffs[start])):
            return start
    return None
