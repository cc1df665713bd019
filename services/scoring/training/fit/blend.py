"""Chooses the probability to use: the trees', a baseline's, or a blend of both.

Chosen on later *training* cutoffs (the backtest), where each contender was fitted to what had
matured by then, as in service. Two numbers are chosen, both in log-odds:

weight  of the trees beside a buy-till-you-die model. The trees know more of each customer.
level   how far the blend is moved, alike for all customers, until its mean is the buy-till-you-die
        model's. That model learns without labels, so it has seen the newest weeks, while the
        trees' newest labels are a horizon old: where seasons move the level, it errs less.

Test cutoffs are never used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.monitoring.metrics import log_loss, roc_auc
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.training.fit.backtest import Backtest
from services.scoring.training.fit.baselines import BTYD, NAMES
from shared.kernel.arrays import Floats

MODEL: Final = "lightgbm"
WEIGHTS: Final = (1.0, 0.75, 0.5, 0.25)
"""Weights of the trees to try; finer steps are lost in the noise."""
LEVELS: Final = (0.0, 0.5, 1.0)
BISECTIONS: Final = 30
"""Bisection steps: enough for a ten-millionth of a log-odds."""
SHIFT_MAX: Final = 20.0
"""Log-odds: beyond it every probability is certain."""


@dataclass(frozen=True, slots=True, order=True)
class Contender:
    """One way to compute the probability."""

    weight: float
    """Weight of the trees, 0 .. 1; the rest is the baseline's."""
    level: float
    """0 .. 1: how far the mean is moved to the baseline's."""
    baseline: str
    """One of `baselines.NAMES`."""

    @property
    def name(self) -> str:
        """`lightgbm`, `bg_nbd`, or `0.75 lightgbm + 0.25 bg_nbd, level 1 bg_nbd`."""
        if self.weight == 0.0:
            return self.baseline
        rest = f" + {1 - self.weight:g} {self.baseline}" if self.weight < 1.0 else ""
        first = f"{self.weight:g} {MODEL}" if rest else MODEL
        return first + rest + (f", level {self.level:g} {self.baseline}" if self.level else "")

    def apply(self, model: Floats, baseline: Floats) -> Floats:
        """Blend the probabilities of all customers of one cutoff."""
        if self.weight == 0.0:
            return baseline
        score = self.weight * logit(model) + (1.0 - self.weight) * logit(baseline)
        if self.level > 0.0:
            score = score + self.level * shift_to(score, float(baseline.mean()))
        return sigmoid(score)


USUAL: Final = Contender(0.5, 1.0, "mbg_nbd")
"""The expected best contender before any measurement."""
STRAYING_WEIGHT: Final = 0.002
STRAYING_LEVEL: Final = 0.02
"""Nats of log loss by which a contender must be better per squared distance from the usual one. A
few cutoffs with errors of the level in the same direction would otherwise choose an extreme that is
wrong in the next season."""
RANKING: Final = 0.5
"""Nats that one unit of ROC-AUC is worth: 0.002 of it weigh as 0.001 of log loss. The season of the
few cutoffs that are chosen on moves the ranking less. These numbers were chosen on training cutoffs
of four public sets, all before any of their test cutoffs."""
FEW_ROWS: Final = 5_000
"""Rows to learn from; with fewer, the trees are seldom the better half of an unmeasured blend."""
FEW: Final = Contender(0.25, 1.0, "mbg_nbd")


@dataclass(frozen=True, slots=True)
class Choice:
    """The contender to use, and why in one sentence."""

    contender: Contender
    reason: str
    tried: Mapping[str, float]
    """Contender -> mean log loss over the later training cutoffs; empty when there were none."""

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name

    def apply(self, model: Floats | None, baselines: Mapping[str, Floats]) -> Floats:
        """Return the chosen probability of all customers of one cutoff.

        `model` may be None at weight 0 only.
        """
        other = baselines[self.contender.baseline]
        return other if model is None else self.contender.apply(model, other)


def choose(past: Backtest, model: Floats, learned_rows: int) -> Choice:
    """Choose the best contender on the backtest's cutoffs, held back towards the usual one.

    `model`: the trees' probability of each row of the backtest, as it would be used;
    `learned_rows`: how many rows the trees have now been grown on. Best is the lowest log loss,
    with a small weight on the ranking.
    """
    if not past.rows.cutoffs:
        usual = USUAL if learned_rows >= FEW_ROWS else FEW
        return Choice(usual, "too little history to choose on a later cutoff", {})
    ours = past.split(model)
    theirs = {name: past.split(p) for name, p in past.baselines.items()}
    found = {
        one: _quality(
            past, [one.apply(p, q) for p, q in zip(ours, theirs[one.baseline], strict=True)]
        )
        for one in _contenders()
    }
    best = min(found, key=lambda one: (found[one].cost + _strayed(one), one))
    trees = found[Contender(1.0, 0.0, USUAL.baseline)]
    simple = min((one for one in found if one.weight == 0.0), key=lambda one: found[one].cost)
    reason = (
        f"on {len(ours)} later training cutoffs log loss {found[best].log_loss:.4f}, "
        f"AUC {found[best].auc:.4f}; {MODEL} {trees.log_loss:.4f}, {trees.auc:.4f}; best baseline "
        f"{simple.name} {found[simple].log_loss:.4f}, {found[simple].auc:.4f}"
    )
    return Choice(best, reason, {one.name: each.log_loss for one, each in found.items()})


@dataclass(frozen=True, slots=True)
class _Quality:
    """Means of the measures over cutoffs."""

    log_loss: float
    auc: float

    @property
    def cost(self) -> float:
        return self.log_loss - RANKING * self.auc


def _quality(past: Backtest, p: list[Floats]) -> _Quality:
    silent = past.split(past.rows.silent)
    auc = [roc_auc(y, each) for y, each in zip(silent, p, strict=True)]
    return _Quality(
        log_loss=float(np.mean([log_loss(y, each) for y, each in zip(silent, p, strict=True)])),
        # A cutoff with one label has no ranking: it counts as chance (0.5) for every contender.
        auc=float(np.mean([0.5 if np.isnan(value) else value for value in auc])),
    )


def shift_to(log_odds: Floats, mean: float) -> float:
    """Find, by bisection, the shift of all log-odds that gives their probabilities this mean."""
    low, high = -SHIFT_MAX, SHIFT_MAX
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        if float(sigmoid(log_odds + middle).mean()) < mean:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _contenders() -> list[Contender]:
    blends = [Contender(weight, level, name)
              for weight in WEIGHTS for level in LEVELS for name in BTYD]  # fmt: skip
    return blends + [Contender(0.0, USUAL.level, name) for name in NAMES]


def _strayed(one: Contender) -> float:
    return (
        STRAYING_WEIGHT * (one.weight - USUAL.weight) ** 2
        + STRAYING_LEVEL * (one.level - USUAL.level) ** 2
    )
