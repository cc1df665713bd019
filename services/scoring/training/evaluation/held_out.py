"""Evaluates one test cutoff: learns from everything before it and predicts every customer at it.

Returns the predictions of the trees, of every baseline and of the chosen blend, on the same
customers. What cannot be learned from a short history is left out, never guessed; BG/NBD needs no
labels, so there is always a prediction. Events at or after the cutoff are read only for the labels
of the measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from services.scoring.core.features.contracts import Labels
from services.scoring.core.features.events import DAY_S
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.event_table import EventTable
from services.scoring.training.data.leaks import leaking
from services.scoring.training.data.panel import (
    Panel,
    Progress,
    RowOptions,
    build_panel,
    no_progress,
)
from services.scoring.training.evaluation.protocols import Figures
from services.scoring.training.fit.backtest import LEARN_CUTOFFS_MIN
from services.scoring.training.fit.baselines import fit_baselines, without_labels
from services.scoring.training.fit.blend import (
    MODEL,
    USUAL,
    Choice,
    Contender,
    choose,
)
from services.scoring.training.fit.fit import SEED, Fit, fit
from services.scoring.training.fit.train import usual_cutoffs
from services.scoring.training.fit.trees import log_odds
from services.scoring.training.measures.lapse import lapse_measures
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid

CHOSEN: Final = "chosen"
RULE: Final = "rule"
UNSEEN_SHARE_MAX: Final = 0.05
"""Share of the horizon by which the file may end early and still be measured: a small shop may have
sold nothing on its last days."""


@dataclass(frozen=True, slots=True)
class HeldOutCutoff:
    """A test cutoff with all predictions and measures."""

    rows: Panel
    """The eligible customers at the cutoff, with their outcomes."""
    predictions: Mapping[str, Floats]
    """Contender -> probability of silence; `chosen` is the one that is used."""
    choice: Choice
    known: Panel | None
    """The rows to learn from; None when no label had matured."""
    fitted: Fit | None
    """The trees; None where the history was too short or had one label only."""
    untrained: str
    """Why there are no trees; empty where there are trees."""
    labelled: bool
    """Whether the whole horizon after the cutoff was observed: only then it can be measured."""
    lapse: Mapping[str, Figures]
    """Measures of the lapse probability (`lapse_measures`)."""

    @property
    def cutoff(self) -> float:
        """Unix seconds, UTC."""
        return self.rows.cutoffs[0]


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
    known, untrained = _known(endless, end, horizon_days, asked, seed, progress)
    fitted: Fit | None = None
    if known is not None and not untrained:
        fitted = fit(known, seed=seed, threads=threads, progress=progress)
    if known is None:
        simple = without_labels(rows.x, horizon_days)
    else:
        simple = dict(fit_baselines(known, rows.x))
    predictions = {name: baseline.predict(rows.x) for name, baseline in simple.items()}
    predictions[RULE] = RuleModel(horizon_days).predict(rows.x)
    if fitted is None:
        choice = Choice(Contender(0.0, 1.0, USUAL.baseline), f"no trees: {untrained}", {})
    else:
        score = log_odds(fitted.booster, rows.x, threads)
        predictions[MODEL] = fitted.calibration.apply(score)
        past = fitted.calibration.apply(fitted.later.log_odds)
        choice = choose(fitted.later, past, len(known or ()))
    predictions[CHOSEN] = choice.apply(predictions.get(MODEL), predictions)
    return HeldOutCutoff(
        rows=rows,
        predictions=predictions,
        choice=choice,
        known=known,
        fitted=fitted,
        untrained=untrained,
        labelled=_labelled(table, cutoff, horizon_days),
        lapse={} if labels != "silence" else lapse_measures(table, rows, predictions, fitted),
    )


def _rows(table: EventTable, cutoff: float, horizon_days: int, asked: RowOptions) -> Panel:
    try:
        return build_panel(table, [cutoff], horizon_days, cutoff + horizon_days * DAY_S,
                           rows_max=len(table.customers), asked=asked)  # fmt: skip
    except Invalid:
        raise Invalid("cutoffs", f"no customer has bought before {_date(cutoff)}") from None


def _known(
    table: EventTable,
    end: float,
    horizon_days: int,
    asked: RowOptions,
    seed: int,
    progress: Progress,
) -> tuple[Panel | None, str]:
    """Return the panel before `end`, and why trees cannot be grown on it (empty: they can)."""
    try:
        cutoffs = usual_cutoffs(table, end, horizon_days)
        known = build_panel(
            table, cutoffs, horizon_days, end, asked=asked, seed=seed, progress=progress
        )
    except Invalid as invalid:
        return None, str(invalid)
    if bad := leaking(table, known.cutoffs[-1]):
        raise Invalid("features", f"these know the future: {', '.join(bad)}")
    if known.silent.all() or not known.silent.any():
        return known, "every customer has the same label"
    if len(known.cutoffs) < LEARN_CUTOFFS_MIN:
        return known, f"fewer than {LEARN_CUTOFFS_MIN} past cutoffs have labels"
    return known, ""


def _labelled(table: EventTable, cutoff: float, horizon_days: int) -> bool:
    unseen_s = cutoff + horizon_days * DAY_S - table.observed_until
    return bool(unseen_s <= UNSEEN_SHARE_MAX * horizon_days * DAY_S)


def _date(at: float) -> str:
    return str(np.datetime64(int(at), "s").astype("datetime64[D]"))
