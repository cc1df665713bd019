"""Baselines that a model must beat: recency, RFM in a logistic regression, and BG/NBD.

They are reported beside every fitted model in the same table, so that an easy task is not taken for
a good model; where one of them was better on later cutoffs, it takes the model's place (`choice`).
Each is fitted to what was known at one cutoff and to nothing later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np

from services.scoring.core.features.registry import column
from services.scoring.core.risk import btyd
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.core.risk.regularity import of_base
from services.scoring.core.risk.rhythm import history
from services.scoring.model.blending import Blend
from services.scoring.training.data.panel import Panel, one_label
from services.scoring.training.fit.line import fit_line
from shared.kernel.arrays import Flags, Floats

NAMES: Final = ("recency", "rfm_logistic", "bg_nbd", "mbg_nbd")
RHYTHM: Final = "mbg_nbd"
"""The baseline that blends are made with: fitted at each cutoff, it is the pooled prior."""
BTYD: Final[Mapping[str, btyd.Model]] = {"bg_nbd": "bg", "mbg_nbd": "mbg"}
"""The baselines that need no labels."""
RFM: Final = ("recency_days", "purchase_days", "spent")
NEWTON_STEPS_MAX: Final = 50
STEP_MIN: Final = 1e-8
RIDGE: Final = 1.0
"""Ridge of one pseudo-customer per coefficient, on standardised columns: keeps the fit of a
separable history finite and changes nothing on a large one."""


class Baseline(Protocol):
    """A simple predictor of silence."""

    def predict(self, x: Floats) -> Floats:
        """Probability of silence. float64[n, F] -> float64[n]."""
        ...


@dataclass(frozen=True, slots=True)
class Recency:
    """Logistic regression on log(1 + days since the last purchase)."""

    line: Blend

    @classmethod
    def fit(cls, panel: Panel) -> Self:
        """Fit the two numbers to every row; the base rate where all labels are equal."""
        if one_label(panel.silent):
            return cls(Blend(intercept=base_log_odds(panel.silent), slope=0.0))
        return cls(fit_line(_recency(panel.x), panel.silent))

    def predict(self, x: Floats) -> Floats:
        """Probability of silence. float64[n, F] -> float64[n]."""
        return self.line.apply(_recency(x))


@dataclass(frozen=True, slots=True)
class RfmLogistic:
    """Logistic regression on log(1 + recency), log(1 + purchase days), log(1 + money spent).

    The RFM of direct marketing (Hughes 1994) with a fitted weight each. Money counts 0 where
    no amount is known.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    """float64[4]: the intercept first."""

    @classmethod
    def fit(cls, panel: Panel) -> Self:
        """Maximum likelihood with a weak ridge, by Newton's method."""
        given = _rfm(panel.x)
        mean, scale = given.mean(axis=0), given.std(axis=0)
        scale = np.where(scale > 0.0, scale, 1.0)
        weights = np.zeros(len(RFM) + 1)
        weights[0] = base_log_odds(panel.silent)
        if not one_label(panel.silent):
            weights = _logistic(_design(given, mean, scale), panel.silent, weights)
        return cls(mean, scale, weights)

    def predict(self, x: Floats) -> Floats:
        """Probability of silence. float64[n, F] -> float64[n]."""
        return sigmoid(_design(_rfm(x), self.mean, self.scale) @ self.weights)


@dataclass(frozen=True, slots=True)
class BuyTillYouDie:
    """P(no purchase in the horizon) of BG/NBD or MBG/NBD, fitted to the customers at one cutoff.

    Needs no labels, so it uses everything before the cutoff, which trained models cannot: their
    newest labels are a horizon old. That is why it is hard to beat where the level moves.
    """

    parameters: btyd.Parameters
    horizon_days: int

    @classmethod
    def fit(cls, x: Floats, horizon_days: int, model: btyd.Model) -> Self:
        """Fit to every customer of one cutoff, float64[n, F]."""
        k = of_base(x) if model == "mbg" else 1.0
        return cls(btyd.fit(*history(x), model=model, k=k), horizon_days)

    def predict(self, x: Floats) -> Floats:
        """Probability of silence. float64[n, F] -> float64[n]."""
        return btyd.no_purchase_probability(self.parameters, *history(x), self.horizon_days)


def fit_baselines(known: Panel, now: Floats) -> Mapping[str, Baseline]:
    """Fit all baselines, in the order of NAMES.

    `known` has the rows with matured labels, `now` float64[n, F] the customers at the cutoff that
    is to be predicted.
    """
    return {
        "recency": Recency.fit(known),
        "rfm_logistic": RfmLogistic.fit(known),
        **without_labels(now, known.horizon_days),
    }


def without_labels(now: Floats, horizon_days: int) -> dict[str, Baseline]:
    """Fit the baselines that need no labels to the customers of one cutoff, float64[n, F]."""
    return {name: BuyTillYouDie.fit(now, horizon_days, model) for name, model in BTYD.items()}


def base_log_odds(silent: Flags) -> float:
    """Return the log-odds of the base rate, smoothed (Laplace 1774: one more of each label)."""
    return float(logit(np.array((silent.sum() + 1.0) / (len(silent) + 2.0))))


def _recency(x: Floats) -> Floats:
    return np.log1p(column(x, "recency_days"))


def _rfm(x: Floats) -> Floats:
    columns = np.stack([column(x, name) for name in RFM], axis=1)
    return np.log1p(np.maximum(np.nan_to_num(columns), 0.0))


def _design(columns: Floats, mean: Floats, scale: Floats) -> Floats:
    return np.hstack([np.ones((len(columns), 1)), (columns - mean) / scale])


def _logistic(design: Floats, silent: Flags, start: Floats) -> Floats:
    weights = start
    ridge = np.diag([0.0] + [RIDGE] * (design.shape[1] - 1))
    for _ in range(NEWTON_STEPS_MAX):
        p = sigmoid(design @ weights)
        gradient = design.T @ (silent - p) - ridge @ weights
        curvature = (design.T * (p * (1.0 - p))) @ design + ridge
        step = np.linalg.solve(curvature + STEP_MIN * np.eye(len(ridge)), gradient)
        weights = weights + step
        if np.abs(step).max() < STEP_MIN:
            break
    return weights
