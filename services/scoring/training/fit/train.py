"""Trains a model from an event history, with its card, ready for scoring to load.

Chooses cutoffs, builds the panel, fits, and compares with the rule and with plain recency in the
same backtest. The model is the blend that was chosen there, with its level at `end`. Labels that
end after `end` are never read, and whether the model is used is decided elsewhere.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, Protocol

import lightgbm
import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk import btyd
from services.scoring.model import reference
from services.scoring.model.blending import Blend
from services.scoring.model.card import ModelCard
from services.scoring.model.churn_model import ChurnModel, assemble
from services.scoring.model.pooled_model import RULES_PRIOR, fit_prior, no_purchase
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.history import History
from services.scoring.training.data.leaks import leaking
from services.scoring.training.data.panel import (
    PLAIN,
    Panel,
    Pieces,
    Progress,
    RowOptions,
    build_panel,
    in_turn,
    no_progress,
)
from services.scoring.training.data.present import present
from services.scoring.training.fit.backtest import LEARN_CUTOFFS_MIN, Measures
from services.scoring.training.fit.blend import Contender
from services.scoring.training.fit.fit import SEED, Fit, fit
from services.scoring.training.fit.horizons import Carried, carry
from services.scoring.training.fit.trees import log_odds
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

WARM_UP_HORIZONS: Final = 3
"""Warm-up before the first cutoff, in horizons: gaps as long as the horizon can then have been
seen."""
WARM_UP_SHARE_MAX: Final = 1 / 3
"""Largest share of the usable history for the warm-up, so that a young company still trains."""
CUTOFFS_PER_HORIZON: Final = 4
"""Cutoffs per horizon; denser ones repeat the same labels."""
CUTOFFS_MAX: Final = 60
"""Most cutoffs, the latest ones: older habits of customers predict less, and the panel stays in
memory."""
WEEK_DAYS: Final = 7
IMPORTANT: Final = 15
"""Features listed in the report and drawn in the card."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """Results of training that are not in the model's card."""

    card: ModelCard
    compared: dict[str, Measures]
    """Each baseline, `rule`, `trees`, `model` -> measures by subset in the backtest; empty without
    one."""
    importance: dict[str, float]
    """Share of the total gain of the strongest features, greatest first."""


class Executor(Protocol):
    """Where the work is done: on one machine, or on a cluster (`cluster.DaskCluster`)."""

    @property
    def threads(self) -> int:
        """Threads of each call of LightGBM."""
        ...

    @property
    def pieces(self) -> Pieces:
        """Makes the pieces of a panel."""
        ...

    def trees(
        self,
        history: History,
        panel: Panel,
        fitted: Fit,
        *,
        seed: int,
        asked: RowOptions,
    ) -> lightgbm.Booster:
        """Grow the final trees, with the settings chosen on the panel."""
        ...


@dataclass(frozen=True, slots=True)
class OneMachine:
    """Does all work in this process; the final trees see the panel's rows.

    More than one of `threads` pays only on idle cores: LightGBM's threads spin while they wait, and
    on two busy cores two of them took 16 times as long as one. They do not change the model.
    """

    threads: int = 1

    @property
    def pieces(self) -> Pieces:
        """Makes them one after the other."""
        return in_turn

    def trees(self, history: History, panel: Panel, fitted: Fit, **_: object) -> lightgbm.Booster:
        """Return the trees that were fitted to every row of the panel."""
        return fitted.booster


@dataclass(frozen=True, slots=True)
class Present:
    """The customers at the end of the history, and the rhythm that is fitted to them."""

    x: Floats
    """float64[n, F], as `data.present` orders them."""
    rhythm: btyd.Parameters

    @classmethod
    def of(cls, history: History, end: float) -> "Present":
        """Fit the rhythm (MBG/NBD) at `end`, unix seconds; the rule's without a customer."""
        x = present(history, end)
        return cls(x, fit_prior(x) if len(x) else RULES_PRIOR)

    def blend(self, contender: Contender, booster: lightgbm.Booster, horizon_days: int) -> Blend:
        """Return the contender's blend with these trees, with its level at this end."""
        return contender.blend(
            log_odds(booster, self.x, 1),
            no_purchase(self.rhythm, self.x, horizon_days),
            RuleModel(horizon_days).predict(self.x),
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with everything that the gate and the registry need of it."""

    model: ChurnModel
    report: TrainingReport
    panel: Panel
    fitted: Fit
    booster: lightgbm.Booster
    """The trees of the model, as they were grown."""
    latest: Floats
    """float64[n, F]: rows of the latest training cutoffs, the reference for drift."""


def train(
    table: History,
    end: float,
    horizon_days: int,
    *,
    asked: RowOptions = PLAIN,
    seed: int = SEED,
    executor: Executor | None = None,
    progress: Progress = no_progress,
    now: Present | None = None,
) -> Trained:
    """Train a model of silence over `horizon_days`, from nothing known at or after `end`.

    `end`: unix seconds, UTC. With `executor` of a cluster the pieces of the panel are made there,
    and so are the final trees, on every row of the history. The score is carried to the other
    horizons in `asked` (`bridges`). `now`: `Present.of` this history at `end`, where the caller has
    it. Raises Invalid when the history is too short or has one label only, and when a feature knows
    the future.
    """
    executor = executor or OneMachine()
    panel = build_panel(
        table,
        usual_cutoffs(table, end, horizon_days),
        horizon_days,
        end,
        seed=seed,
        asked=asked,
        progress=progress,
        pieces=executor.pieces,
    )
    bad = leaking(next(iter(table.tables())), panel.cutoffs[-1])
    if bad:
        raise Invalid("features", f"these know the future: {', '.join(bad)}")
    if len(panel.cutoffs) < LEARN_CUTOFFS_MIN:
        raise Invalid("panel", f"fewer than {LEARN_CUTOFFS_MIN} past cutoffs have labels")
    fitted = fit(panel, labels=asked.labels, seed=seed, threads=executor.threads, progress=progress)
    now = now or Present.of(table, end)
    booster = executor.trees(table, panel, fitted, seed=seed, asked=asked)
    blend = now.blend(fitted.choice.contender, booster, horizon_days)
    carried = carry(fitted.later, fitted.scored(fitted.later), now.rhythm)
    compared = fitted.backtest.compared(fitted.scored(fitted.backtest))
    validation, fingerprint = compared.get("model", {}), table.fingerprint(end)
    card = _card(panel, fitted, carried, asked.labels, validation, fingerprint, end)
    model = assemble(booster, blend, card, carried.over)
    report = TrainingReport(card=card, compared=compared, importance=_importance(fitted))
    number = len(panel.cutoffs)
    latest = panel.between(max(0, number - CUTOFFS_PER_HORIZON), number)
    return Trained(model, report, panel, fitted, booster, reference.drawn(latest.x, seed))


def usual_cutoffs(table: History, end: float, horizon_days: int) -> list[float]:
    """Return cutoffs at midnight from the end backwards, about four a horizon, after a warm-up.

    The step is never whole weeks, so that every weekday is seen. Raises Invalid when no cutoff has
    both a history and a horizon.
    """
    last = np.floor(end / DAY_S) * DAY_S - horizon_days * DAY_S
    first = float(table.first_purchases().min())
    warm_up = min(WARM_UP_HORIZONS * horizon_days * DAY_S, (last - first) * WARM_UP_SHARE_MAX)
    if not last > first:
        raise Invalid(
            "end", f"it leaves less than one horizon ({horizon_days} days) after the first purchase"
        )
    step = max(1, horizon_days // CUTOFFS_PER_HORIZON)
    step -= step % WEEK_DAYS == 0
    number = min(CUTOFFS_MAX, int((last - first - warm_up) // (step * DAY_S)) + 1)
    return [float(last - i * step * DAY_S) for i in reversed(range(number))]


def _card(
    panel: Panel,
    fitted: Fit,
    carried: Carried,
    labels: Labels,
    validation: Measures,
    fingerprint: str,
    end: float,
) -> ModelCard:
    return ModelCard(
        horizon_days=panel.horizon_days,
        horizons=carried.cards,
        lapse=carried.lapse,
        labels=labels,
        feature_set=FEATURE_SET,
        cutoffs=[_instant(cutoff) for cutoff in panel.cutoffs],
        labels_end=_instant(end),
        rows=len(panel),
        rows_thinned=panel.rows_thinned,
        customers=len(np.unique(panel.customer)),
        treatment=panel.treatment,
        base_rate=float(panel.silent.mean()),
        validation_cutoffs=[_instant(cutoff) for cutoff in fitted.backtest.rows.cutoffs],
        validation=validation,
        trees=fitted.trees,
        trees_chosen_by=fitted.trees_chosen_by,
        chosen=fitted.choice.name,
        chosen_by=fitted.choice.reason,
        parameters=fitted.parameters,
        seed=int(fitted.parameters["seed"]),
        data_fingerprint=fingerprint,
        libraries={name: version(name) for name in ("lightgbm", "numpy")},
    )


def _importance(fitted: Fit) -> dict[str, float]:
    gain = fitted.booster.feature_importance("gain")
    strongest = np.argsort(-gain, kind="stable")[:IMPORTANT]
    total = float(gain.sum()) or 1.0
    return {FEATURES[at].name: float(gain[at] / total) for at in strongest if gain[at] > 0}


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
