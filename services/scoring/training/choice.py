"""Which probability to hand out: the trees', a baseline's, or both blended.

Chosen by log loss on later *training* cutoffs (the backtest), where each contender was fitted to
what had matured by then, as it will be when it counts. Blends are weighted means of log-odds:
the trees know more of each customer, BG/NBD knows the newest weeks. It never sees a cutoff
that is to be tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.model.calibration import logit, sigmoid
from services.scoring.training.backtest import Backtest
from services.scoring.training.baselines import NAMES
from services.scoring.training.metrics import log_loss
from services.scoring.training.panel import Floats

MODEL: Final = "lightgbm"
BLENDS: Final = (0.75, 0.5, 0.25)
"""Weights of the trees beside a baseline: steps finer than these are lost in the noise."""
UNTRIED: Final = (0.5, "bg_nbd")
"""Without a later cutoff to choose on: half each, as neither was worse by much anywhere, and the
mean of two log-odds is seldom worse than both."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to hand out, and why in one sentence."""

    weight: float
    """Of the trees, 0 .. 1; the rest is the baseline's."""
    baseline: str
    """One of `baselines.NAMES`."""
    reason: str
    tried: Mapping[str, float]
    """Contender -> mean log loss over the origins; empty when there was none."""

    @property
    def name(self) -> str:
        """`lightgbm`, a baseline's name, or `0.75 lightgbm + 0.25 bg_nbd`."""
        return contender(self.weight, self.baseline)

    def apply(self, model: Floats | None, baselines: Mapping[str, Floats]) -> Floats:
        """The chosen probability, from each contender's; `model` may be None at weight 0."""
        other = baselines[self.baseline]
        if model is None or self.weight == 0.0:
            return other
        return blend(self.weight, model, other)


def contender(weight: float, baseline: str) -> str:
    """The name of a weighted pair."""
    if weight in {0.0, 1.0}:
        return MODEL if weight else baseline
    return f"{weight:g} {MODEL} + {1 - weight:g} {baseline}"


def blend(weight: float, one: Floats, other: Floats) -> Floats:
    """Weighted mean of two probabilities in log-odds."""
    if weight == 1.0:
        return one
    return sigmoid(weight * logit(one) + (1.0 - weight) * logit(other))


def choose(past: Backtest, model: Floats) -> Choice:
    """The contender with the lowest mean log loss over the backtest's origins.

    `model`: the trees' probability of each row of the backtest, as they would be handed out.
    """
    if not past.rows.cutoffs:
        weight, baseline = UNTRIED
        return Choice(weight, baseline, "too little history to choose on a later cutoff", {})
    silent = past.split(past.rows.silent)
    found: dict[str, tuple[float, float, str]] = {}
    for name in NAMES:
        for weight in (1.0, *BLENDS, 0.0):
            parts = past.split(blend(weight, model, past.baselines[name]))
            loss = float(np.mean([log_loss(y, p) for y, p in zip(silent, parts, strict=True)]))
            found[contender(weight, name)] = (loss, weight, name)
    best, weight, baseline = min(found.values())
    simple = min(found[name] for name in NAMES)
    reason = (
        f"lowest mean log loss on {len(silent)} later training cutoffs: {best:.4f}, "
        f"{MODEL} {found[MODEL][0]:.4f}, best baseline {simple[2]} {simple[0]:.4f}"
    )
    return Choice(weight, baseline, reason, {name: loss for name, (loss, _, _) in found.items()})
