"""`python -m services.scoring evaluate`: how good is the model on histories it never saw?

For each test cutoff a model is trained on what had matured by then, with defaults, and
compared with plain recency and with the rule on the same customers. Nothing is chosen here:
the test cutoffs are read once and reported as they are.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np

from services.scoring.core.events import DAY_S
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.backtest import Measures, measures
from services.scoring.training.baselines import Recency
from services.scoring.training.panel import Progress, build_panel, every
from services.scoring.training.table import EventTable, named
from services.scoring.training.train import train
from shared.kernel.errors import Invalid

MODELS: Final = ("recency", "rule", "lightgbm")
SHOWN: Final = ("roc_auc", "pr_auc", "brier", "log_loss", "ece", "lift_at_10")


@dataclass(frozen=True, slots=True)
class Protocol:
    """Which cutoffs train and which test, fixed before any model was seen."""

    horizon_days: int
    first: str
    """First training cutoff, UTC date."""
    step_days: int
    tests: tuple[str, ...]
    reference: dict[str, dict[str, float]]
    """What an earlier study measured with LightGBM on a panel with 98 features, same rows."""


PROTOCOLS: Final[dict[str, Protocol]] = {
    "cdnow": Protocol(
        horizon_days=91,
        first="1997-04-01",
        step_days=14,
        tests=("1997-12-31", "1998-02-14", "1998-04-01"),
        reference={
            "all": {"roc_auc": 0.8218, "pr_auc": 0.9490, "brier": 0.0979, "log_loss": 0.3259,
                    "ece": 0.013, "lift_at_10": 1.138},
            "active": {"roc_auc": 0.7213, "pr_auc": 0.7134, "brier": 0.2114, "log_loss": 0.6103,
                       "ece": 0.027, "lift_at_10": 1.498},
        },
    ),
    "completejourney": Protocol(
        horizon_days=28,
        first="2017-03-26",
        step_days=7,
        tests=("2017-09-24", "2017-10-22", "2017-11-19", "2017-12-03"),
        reference={
            "all": {"roc_auc": 0.8889, "pr_auc": 0.613, "brier": 0.0981, "log_loss": 0.3052,
                    "ece": 0.019, "lift_at_10": 3.80},
            "active": {"roc_auc": 0.8690, "pr_auc": 0.3928, "brier": 0.0722, "log_loss": 0.2361,
                       "ece": 0.013, "lift_at_10": 4.27},
        },
    ),
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Print the table, write the figures as JSON. 0, or 2 when the data are not there."""
    options = _options(argv)
    found = {}
    try:
        for name in options.sets:
            found[name] = evaluate(named(name), PROTOCOLS[name], options.threads, _log(name))
            _print(name, PROTOCOLS[name], found[name], sys.stdout)
    except Invalid as invalid:
        sys.stderr.write(f"evaluate: {invalid}\n")
        return 2
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
    sys.stdout.write(f"\nfigures: {out}\n")
    return 0


def evaluate(
    table: EventTable, protocol: Protocol, threads: int, progress: Progress
) -> dict[str, Any]:
    """Measures of each model, at each test cutoff and as their mean."""
    horizon = protocol.horizon_days
    by_cutoff: list[dict[str, Any]] = []
    for test in protocol.tests:
        at = _at(test)
        cutoffs = every(_at(protocol.first), at - horizon * DAY_S, protocol.step_days)
        model, report = train(
            table, at, horizon, cutoffs=cutoffs, threads=threads, progress=progress
        )
        rows = build_panel(table, [at], horizon, at + horizon * DAY_S)
        learned = build_panel(table, cutoffs, horizon, at)
        predictions = {
            "recency": Recency.fit(learned).predict(rows.x),
            "rule": RuleModel(horizon).predict(rows.x),
            "lightgbm": model.predict(rows.x),
        }
        by_cutoff.append(
            {
                "cutoff": test,
                "rows_trained": report.card.rows,
                "trees": report.card.trees,
                "calibration": report.card.calibration_decision,
                "models": {name: measures(rows, p) for name, p in predictions.items()},
            }
        )
        progress(f"tested {test}", 1, 1)
    return {
        "horizon_days": horizon,
        "mean": {name: _mean([c["models"][name] for c in by_cutoff]) for name in MODELS},
        "reference": protocol.reference,
        "by_cutoff": by_cutoff,
    }


def _mean(found: Sequence[Measures]) -> Measures:
    return {
        subset: {
            name: float(np.mean([m[subset][name] for m in found]))
            for name in ("rows", "base_rate", *SHOWN)
        }
        for subset in found[0]
    }


def _print(name: str, protocol: Protocol, found: dict[str, Any], out: TextIO) -> None:
    out.write(
        f"\n{name}: silence over {protocol.horizon_days} days, "
        f"mean over {', '.join(protocol.tests)}\n"
        f"{'':8}{'':22}" + "".join(f"{measure:>11}" for measure in SHOWN) + "\n"
    )
    mean = found["mean"]
    for subset in mean[MODELS[0]]:
        rows = [(model, mean[model][subset]) for model in MODELS]
        if subset in protocol.reference:
            rows.append(("(earlier LightGBM)", protocol.reference[subset]))
        for model, figures in rows:
            cells = "".join(f"{figures[measure]:11.4f}" for measure in SHOWN)
            out.write(f"{subset:8}{model:22}{cells}\n")
        base = mean[MODELS[0]][subset]
        out.write(f"{'':8}base rate {base['base_rate']:.3f}, {base['rows']:,.0f} customers\n")
    out.flush()


def _log(name: str) -> Progress:
    def tell(what: str, done: int, total: int) -> None:
        if done == total:
            sys.stderr.write(f"{name}: {what} {done}/{total}\n")
            sys.stderr.flush()

    return tell


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m services.scoring evaluate", description=main.__doc__
    )
    parser.add_argument("--sets", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--out", default="build/evaluation.json")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(argv)


def _at(date: str) -> float:
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()
