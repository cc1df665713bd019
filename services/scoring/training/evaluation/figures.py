"""Formats the result of an evaluation as JSON and as a table.

`null` stands for what is not defined: a measure on one label, a cutoff with a horizon that has not
been observed. Computes means and nothing else; `metrics` computes the measures.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import numpy as np

from services.scoring.training.data.panel import SUBSETS
from services.scoring.training.evaluation.held_out import CHOSEN, WOULD_SERVE, HeldOutCutoff
from services.scoring.training.evaluation.protocols import SHOWN, Figures
from services.scoring.training.fit.backtest import measures
from services.scoring.training.fit.baselines import NAMES
from services.scoring.training.fit.blend import MODEL, RULE
from services.scoring.training.measures import lapse

FORMAT: Final = 1
MODELS: Final = (*NAMES, RULE, MODEL, CHOSEN, WOULD_SERVE)
"""Models in the order of the table."""

LAPSE_SHOWN: Final = lapse.SHOWN[1:]
"""Measures of the lapse probability, without the number of silences."""

PRINTED: Final = {CHOSEN: "evaluated", WOULD_SERVE: "would serve"}
"""Names in the table, where they differ from those in the file of figures."""

Found = dict[str, Any]


def figures(tested: Sequence[HeldOutCutoff], horizon_days: int, notes: Mapping[str, Any]) -> Found:
    """Return everything for `metrics.json`: each cutoff, and the mean over the observed ones."""
    cutoffs = [_cutoff(one) for one in tested]
    seen = [one["models"] for one in cutoffs if one["labels_observed"]]
    return {
        "format": FORMAT,
        "horizon_days": horizon_days,
        "events": dict(notes),
        "mean": {
            name: _mean([models[name] for models in seen if name in models])
            for name in MODELS
            if any(name in models for models in seen)
        },
        "lapse": _lapse([one["lapse"] for one in cutoffs if one["lapse"]]),
        "cutoffs": cutoffs,
    }


def instant(at: float) -> str:
    """Format a cutoff as a date where it is a midnight (UTC), else as ISO 8601."""
    time = datetime.fromtimestamp(at, UTC)
    midnight = (time.hour, time.minute, time.second, time.microsecond) == (0, 0, 0, 0)
    return time.date().isoformat() if midnight else time.isoformat()


def print_table(
    found: Found, title: str, out: TextIO, reference: Mapping[str, Mapping[str, Figures]]
) -> None:
    """Print the means as a table, by subset, with the figures of an earlier study beside them."""
    out.write(f"\n{title}\n{'':8}{'':20}" + "".join(f"{name:>11}" for name in SHOWN) + "\n")
    for subset in SUBSETS:
        rows: list[tuple[str, Figures]] = [(name, of[subset]) for name, of in found["mean"].items()]
        rows += list(reference.get(subset, {}).items())
        for name, values in rows:
            out.write(
                f"{subset:8}{PRINTED.get(name, name):20}"
                + "".join(_cell(values[m]) for m in SHOWN)
                + "\n"
            )
        if rows:
            base, count = rows[0][1]["base_rate"], rows[0][1]["rows"]
            out.write(f"{'':8}base rate{_cell(base)}, {count or 0:,.0f} customers\n")
    for name, values in found["lapse"].items():
        shown = " ".join(f"{measure} {values[measure]:.4f}" for measure in LAPSE_SHOWN)
        out.write(f"lapse   {name:20} {shown} ({values['rows']:,.0f} silences)\n")
    for one in found["cutoffs"]:
        unseen = "" if one["labels_observed"] else " (not observed to its end: no measures)"
        what = one["chosen"]["model"]
        out.write(f"{one['cutoff']}{unseen}: {'the rule' if what == RULE else what} would serve\n")
        for decision in one["chosen"]["decisions"]:
            out.write(f"  {decision}\n")
    out.flush()


def _cutoff(one: HeldOutCutoff) -> Found:
    trained = one.trained
    return {
        "cutoff": instant(one.cutoff),
        "customers": len(one.rows),
        "labels_observed": one.labelled,
        "chosen": {
            "model": one.name,
            "version": one.served.version,
            "decisions": one.decisions,
            "reason": "" if trained is None else trained.fitted.choice.reason,
            "log_loss_on_training_cutoffs": {} if trained is None
            else dict(trained.fitted.choice.tried),
        },
        "training": {
            "cutoffs": [] if trained is None else [instant(c) for c in trained.panel.cutoffs],
            "rows": 0 if trained is None else len(trained.panel),
            "trees": 0 if trained is None else trained.fitted.trees,
            "trees_chosen_by": "" if trained is None else trained.fitted.trees_chosen_by,
        },
        "lapse": dict(one.lapse),
        "models": {name: measures(one.rows, one.predictions[name])
                   for name in MODELS if one.labelled and name in one.predictions},
    }  # fmt: skip


def _mean(of_cutoffs: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Return means by subset and measure, over the cutoffs at which the measure is defined."""
    found: dict[str, Figures] = {}
    for subset in SUBSETS:
        values: dict[str, float | None] = {}
        for name in ("rows", "base_rate", *SHOWN):
            defined = [v for of in of_cutoffs if (v := of[subset][name]) is not None]
            values[name] = float(np.mean(defined)) if defined else None
        found[subset] = values
    return found


def _lapse(of_cutoffs: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Return the lapse probability's mean measures and number of silences, by way of scoring."""
    if not of_cutoffs:
        return {}
    return {
        name: {
            "rows": sum(of[name]["rows"] or 0 for of in of_cutoffs),
            **{
                measure: float(np.mean([of[name][measure] for of in of_cutoffs]))
                for measure in LAPSE_SHOWN
            },
        }
        for name in of_cutoffs[0]
    }


def _cell(value: float | None) -> str:
    return f"{'–':>11}" if value is None else f"{value:11.4f}"
