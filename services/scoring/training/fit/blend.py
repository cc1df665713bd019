"""Chooses the score that serves: the trees', the rhythm's (MBG/NBD), or a blend of both.

Chosen on later *training* cutoffs (the backtest), where each contender was fitted to what had
matured by then, as in service. Two numbers are chosen, both in log-odds, and where a level is from:

weight  of the trees beside MBG/NBD. The trees know more of each customer. At 1 the trees alone
        rank the customers; at 0 the pooled prior serves.
level   how far the blend is moved, alike for all customers, until its mean is MBG/NBD's or the
        rule's. Neither needs labels, so they have seen the newest weeks, while the trees' newest
        labels are a horizon old: where seasons move the level, they err less.

Test cutoffs are never used. What is chosen here is what the gate judges, what `evaluate` measures
and what serves (`Contender.blend`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.scoring.core.monitoring.metrics import log_loss, roc_auc
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.model.blending import Blend
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.fit.backtest import Backtest
from services.scoring.training.fit.baselines import RHYTHM
from shared.kernel.arrays import Floats

MODEL: Final = "lightgbm"
RULE: Final = "rule"
WEIGHTS: Final = (1.0, 0.75, 0.5, 0.25)
"""Weights of the trees to try; finer steps are lost in the noise."""
LEVELS: Final = (0.0, 0.5, 1.0)
BISECTIONS: Final = 60
"""Bisection steps: down to the last bit of a log-odds, so that every way to it ends alike."""
SHIFT_MAX: Final = 20.0
"""Log-odds: beyond it every probability is certain."""


@dataclass(frozen=True, slots=True, order=True)
class Contender:
    """One way to compute the probability."""

    weight: float
    """Weight of the trees, 0 .. 1; the rest is the rhythm's."""
    level: float
    """0 .. 1: how far the mean is moved."""
    source: str = RHYTHM
    """The score with the mean that it is moved to: `RHYTHM` or `RULE`."""

    @property
    def name(self) -> str:
        """`lightgbm`, `mbg_nbd`, or `0.75 lightgbm + 0.25 mbg_nbd, level 1 of mbg_nbd`."""
        if self.weight == 0.0:
            return RHYTHM
        rest = f" + {1 - self.weight:g} {RHYTHM}" if self.weight < 1.0 else ""
        first = f"{self.weight:g} {MODEL}" if rest else MODEL
        return first + rest + (f", level {self.level:g} of {self.source}" if self.level else "")

    def blend(self, trees: Floats, rhythm: Floats, rule: Floats) -> Blend:
        """Return the blend for the customers of one cutoff.

        `trees`: their log-odds; `rhythm`, `rule`: their probability by each; float64[n] all.
        """
        flat = Blend(slope=self.weight, rhythm=1.0 - self.weight)
        if self.level == 0.0 or self.weight == 0.0 or not len(trees):
            return flat
        mean = float((rule if self.source == RULE else rhythm).mean())
        shift = shift_to(flat.log_odds(trees, logit(rhythm)), mean)
        return Blend(intercept=self.level * shift, slope=flat.slope, rhythm=flat.rhythm)

    def apply(self, trees: Floats, rhythm: Floats, rule: Floats) -> Floats:
        """Return the probabilities of all customers of one cutoff; arguments as `blend`."""
        if self.weight == 0.0:
            return rhythm
        return self.blend(trees, rhythm, rule).apply(trees, logit(rhythm))


USUAL: Final = Contender(0.5, 1.0)
"""The expected best contender before any measurement."""
PRIOR_ALONE: Final = Contender(0.0, 1.0)
"""The pooled prior: no trees, and its own level."""
CONTENDERS: Final = (
    *(Contender(weight, level) for weight in WEIGHTS for level in LEVELS),
    *(Contender(weight, level, RULE) for weight in WEIGHTS for level in LEVELS if level),
    PRIOR_ALONE,
)
STRAYING_WEIGHT: Final = 0.002
STRAYING_LEVEL: Final = 0.02
"""Nats of log loss by which a contender must be better per squared distance from the usual one. A
few cutoffs with errors of the level in the same direction would otherwise choose an extreme that is
wrong in the next season."""
STRAYING_SOURCE: Final = 0.002
"""The same for the rule's level: the prior's is that of this company."""
RANKING: Final = 0.5
"""Nats that one unit of ROC-AUC is worth: 0.002 of it weigh as 0.001 of log loss. The season of the
few cutoffs that are chosen on moves the ranking less. These numbers were chosen on training cutoffs
of four public sets, all before any of their test cutoffs."""
FEW_ROWS: Final = 5_000
"""Rows to learn from; with fewer, the trees are seldom the better half of an unmeasured blend."""
FEW: Final = Contender(0.25, 1.0)


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


TREES_CHOSEN: Final = Choice(Contender(1.0, 0.0), "the end of a contract follows no rhythm", {})
"""The choice for contractual labels."""


def choose(past: Backtest, learned_rows: int) -> Choice:
    """Choose the best contender on the backtest's cutoffs, held back towards the usual one.

    `learned_rows`: how many rows the trees have now been grown on. Best is the lowest log loss,
    with a small weight on the ranking.
    """
    if not past.rows.cutoffs:
        usual = USUAL if learned_rows >= FEW_ROWS else FEW
        return Choice(usual, "too little history to choose on a later cutoff", {})
    found = {one: _quality(past, blended(past, one)) for one in CONTENDERS}
    best = min(found, key=lambda one: (found[one].cost + _strayed(one), one))
    trees, rhythm = found[Contender(1.0, 0.0)], found[PRIOR_ALONE]
    reason = (
        f"on {len(past.rows.cutoffs)} later training cutoffs log loss {found[best].log_loss:.4f}, "
        f"AUC {found[best].auc:.4f}; {MODEL} alone {trees.log_loss:.4f}, {trees.auc:.4f}; "
        f"{RHYTHM} alone {rhythm.log_loss:.4f}, {rhythm.auc:.4f}"
    )
    return Choice(best, reason, {one.name: each.log_loss for one, each in found.items()})


def blended(past: Backtest, one: Contender) -> Floats:
    """Return the contender's probability of each row of the backtest, cutoff by cutoff."""
    rule = RuleModel(past.rows.horizon_days).predict(past.rows.x)
    parts = [past.split(column) for column in (past.log_odds, past.baselines[RHYTHM], rule)]
    scored = [one.apply(*columns) for columns in zip(*parts, strict=True)]
    return np.concatenate([np.empty(0), *scored])


@dataclass(frozen=True, slots=True)
class _Quality:
    """Means of the measures over cutoffs."""

    log_loss: float
    auc: float

    @property
    def cost(self) -> float:
        return self.log_loss - RANKING * self.auc


def _quality(past: Backtest, scored: Floats) -> _Quality:
    pairs = list(zip(past.split(past.rows.silent), past.split(scored), strict=True))
    auc = [roc_auc(silent, p) for silent, p in pairs]
    return _Quality(
        log_loss=float(np.mean([log_loss(silent, p) for silent, p in pairs])),
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


def _strayed(one: Contender) -> float:
    return (
        STRAYING_WEIGHT * (one.weight - USUAL.weight) ** 2
        + STRAYING_LEVEL * (one.level - USUAL.level) ** 2
        + STRAYING_SOURCE * (one.source != USUAL.source)
    )
