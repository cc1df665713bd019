"""Measures the lapse probability at a test cutoff, for each way of scoring.

Measured where warnings are decided: silences of customers with an own rhythm that are no longer
ordinary, and with a lapse length that ends before the data do. Nothing at or after the cutoff is
learned from.
"""

from collections.abc import Mapping

import numpy as np

from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk import btyd
from services.scoring.core.risk.lapse import ORDINARY_SHARE, LapseClock, silences_of
from services.scoring.core.risk.rhythm import history
from services.scoring.model.pooled_model import fit_prior
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import Predictor
from services.scoring.training.data.event_table import EventTable
from services.scoring.training.data.panel import Panel
from services.scoring.training.evaluation.protocols import Figures
from services.scoring.training.measures.metrics import scores
from shared.kernel.arrays import Floats

SHOWN = ("rows", "base_rate", "log_loss", "roc_auc", "ece")
"""The measures of the lapse probability."""
ROWS_MIN = 25
"""Least silences of each outcome: with fewer, a measure shows nothing."""


def lapse_measures(
    table: EventTable, rows: Panel, predictions: Mapping[str, Floats], served: Predictor
) -> dict[str, Figures]:
    """Return, by contender, rows, base rate, log loss, ROC-AUC and ECE of the lapse probability.

    `rows`: the customers of one cutoff; `served`: what would serve, which made the prediction
    `chosen`. Empty where too few silences have an outcome.
    """
    cutoff, clock = rows.cutoffs[0], LapseClock()
    silences = silences_of(rows.x, clock)
    rest = silences.rest
    with np.errstate(invalid="ignore"):
        known = silences.own & (silences.share >= ORDINARY_SHARE) & (rest > 0)
    known &= cutoff + rest * DAY_S <= table.observed_until
    back = (table.next_purchases(cutoff, np.inf)[rows.customer] - cutoff) / DAY_S
    reached = (back >= rest)[known]
    if min(int(reached.sum()), int((~reached).sum())) < ROWS_MIN:
        return {}
    prior = fit_prior(rows.x)
    times = history(rows.x[known])
    q = btyd.no_purchase_probability(prior, *times, rest[known])
    measures = {
        "rule": RuleModel(rows.horizon_days).lapse_probability(rows.x[known], q, rest[known]),
        "mbg_nbd": q,
        "chosen": served.lapse_probability(
            rows.x[known], predictions["chosen"][known], rest[known]
        ),
    }
    return {
        name: {measure: found[measure] for measure in SHOWN}
        for name, found in ((name, scores(reached, p)) for name, p in measures.items())
    }
