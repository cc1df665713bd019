"""Evaluates one test cutoff: learns from everything before it and predicts every customer at it.

It learns by `candidates.learn`, as `train` does, and evaluates what a first training before the
cutoff would put in service: `chosen`. Beside it are the trees alone, every baseline and the rule,
on the same customers, and `would_serve`: the prediction of the artefact, stored and loaded again.
What cannot be learned from a short history is left out, never guessed. Events at or after the
cutoff are read only for the labels of the measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.model.loading import loads
from services.scoring.model.pooled_model import no_purchase
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import Predictor
from services.scoring.training.data.event_table import EventTable
from services.scoring.training.data.panel import (
    Panel,
    Progress,
    RowOptions,
    build_panel,
    no_progress,
)
from services.scoring.training.evaluation.protocols import Figures
from services.scoring.training.fit.baselines import RHYTHM, fit_baselines, without_labels
from services.scoring.training.fit.blend import MODEL, RULE
from services.scoring.training.fit.candidates import Candidate, TrainingOutcome, learn
from services.scoring.training.fit.fit import SEED
from services.scoring.training.fit.promotion_gate import day
from services.scoring.training.fit.train import OneMachine, Trained
from services.scoring.training.fit.trees import log_odds
from services.scoring.training.measures.lapse import lapse_measures
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

CHOSEN: Final = "chosen"
WOULD_SERVE: Final = "would_serve"
UNSEEN_SHARE_MAX: Final = 0.05
"""Share of the horizon by which the file may end early and still be measured: a small shop may have
sold nothing on its last days."""


@dataclass(frozen=True, slots=True)
class HeldOutCutoff:
    """A test cutoff with all predictions and measures."""

    rows: Panel
    """The eligible customers at the cutoff, with their outcomes."""
    predictions: Mapping[str, Floats]
    """Contender -> probability of silence; `chosen` is what would serve, computed from the parts
    that training made; `would_serve` is the same by the loaded artefact."""
    learned: TrainingOutcome
    """What was learned before the cutoff, and the gate's decisions."""
    served: Predictor
    """What a first training before the cutoff would put in service."""
    labelled: bool
    """Whether the whole horizon after the cutoff was observed: only then it can be measured."""
    lapse: Mapping[str, Figures]
    """Measures of the lapse probability (`lapse_measures`)."""

    @property
    def cutoff(self) -> float:
        """Unix seconds, UTC."""
        return self.rows.cutoffs[0]

    @property
    def trained(self) -> Trained | None:
        """The trees and their backtest; None where the history was too short or had one label."""
        return self.learned.trained

    @property
    def best(self) -> Candidate | None:
        """The candidate that would serve; None: the rule."""
        return self.learned.best(None)

    @property
    def name(self) -> str:
        """What would serve: a contender's name, `mbg_nbd` for the pooled prior, or `rule`."""
        if self.best is None:
            return RULE
        if self.best.model.method == "pooled" or self.trained is None:
            return RHYTHM
        return self.trained.fitted.choice.name

    @property
    def decisions(self) -> list[str]:
        """What was decided on each candidate and why, in sentences."""
        found = [
            f"{one.model.method}: {'passed' if one.decision.passed else 'kept'}: "
            + "; ".join(one.decision.reasons)
            for one in self.learned.candidates
        ]
        return [*self.learned.notes, *found]


def hold_out(
    table: EventTable,
    cutoff: float,
    horizon_days: int,
    *,
    labels: Labels = "silence",
    seed: int = SEED,
    threads: int = 1,
    progress: Progress = no_progress,
) -> HeldOutCutoff:
    """Learn from the time before `cutoff` (unix seconds, UTC) with defaults, and predict it.

    Raises Invalid when no customer has bought before the cutoff, or when a feature knows the
    future.
    """
    # The end of the data is ignored here: a prediction is useful without a label too (`labelled`).
    endless = replace(table, observed_until=np.inf)
    asked = RowOptions(labels=labels)
    rows = _rows(endless, cutoff, horizon_days, asked)
    # Labels end where the file ends: beyond it every customer would seem silent.
    end = min(cutoff, table.observed_until)
    learned = learn(
        endless, end, horizon_days, asked=asked, seed=seed,
        executor=OneMachine(threads), progress=progress,
    )  # fmt: skip
    best = learned.best(None)
    served: Predictor = RuleModel(horizon_days) if best is None else loads(best.data)
    predictions = _predictions(rows, learned, threads)
    predictions[CHOSEN] = _chosen(rows, learned, predictions, threads)
    predictions[WOULD_SERVE] = served.predict(rows.x)
    return HeldOutCutoff(
        rows=rows,
        predictions=predictions,
        learned=learned,
        served=served,
        labelled=_labelled(table, cutoff, horizon_days),
        lapse={} if labels != "silence" else lapse_measures(table, rows, predictions, served),
    )


def _predictions(rows: Panel, learned: TrainingOutcome, threads: int) -> dict[str, Floats]:
    """Return the predictions of the baselines, the rule and the trees alone."""
    trained, horizon_days = learned.trained, rows.horizon_days
    if trained is None:
        simple = without_labels(rows.x, horizon_days)
    else:
        simple = dict(fit_baselines(trained.panel, rows.x))
    found = {name: baseline.predict(rows.x) for name, baseline in simple.items()}
    found[RHYTHM] = no_purchase(learned.now.rhythm, rows.x, horizon_days)
    found[RULE] = RuleModel(horizon_days).predict(rows.x)
    if trained is not None:
        found[MODEL] = sigmoid(log_odds(trained.booster, rows.x, threads))
    return found


def _chosen(
    rows: Panel, learned: TrainingOutcome, predictions: Mapping[str, Floats], threads: int
) -> Floats:
    """Return what would serve, from the parts that training made."""
    best, trained, now = learned.best(None), learned.trained, learned.now
    if best is None:
        return predictions[RULE]
    if best.model.method == "pooled" or trained is None:
        return predictions[RHYTHM]
    blend = now.blend(trained.fitted.choice.contender, trained.booster, rows.horizon_days)
    return blend.apply(log_odds(trained.booster, rows.x, threads), logit(predictions[RHYTHM]))


def _rows(table: EventTable, cutoff: float, horizon_days: int, asked: RowOptions) -> Panel:
    try:
        return build_panel(table, [cutoff], horizon_days, cutoff + horizon_days * DAY_S,
                           rows_max=len(table.customers), asked=asked)  # fmt: skip
    except Invalid:
        raise Invalid("cutoffs", f"no customer has bought before {day(cutoff)}") from None


def _labelled(table: EventTable, cutoff: float, horizon_days: int) -> bool:
    unseen_s = cutoff + horizon_days * DAY_S - table.observed_until
    return bool(unseen_s <= UNSEEN_SHARE_MAX * horizon_days * DAY_S)
