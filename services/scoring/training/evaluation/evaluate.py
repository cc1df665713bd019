"""Implements `python -m services.scoring evaluate`: measures the model on later, unseen periods.

With `--events FILE` it evaluates a company's own file: at each cutoff everything is learned from
the time before it, with defaults (horizon and cutoffs are proposed where they are not given), and
`predictions.csv`, `metrics.json` and `card.html` are written. Without, it evaluates the public sets
by their fixed protocols. No choice is made on a test cutoff: each is read once and its measures are
reported unchanged.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from services.scoring.core.features.contracts import Labels
from services.scoring.core.risk.horizons import HORIZON_DAYS_MAX, coherent
from services.scoring.reports.model_card import card_page
from services.scoring.training.data.datasets import path_of
from services.scoring.training.data.event_file import LoadedFile, read
from services.scoring.training.data.event_table import has_contracts
from services.scoring.training.data.panel import Progress
from services.scoring.training.evaluation import proposal
from services.scoring.training.evaluation.figures import (
    Found,
    figures,
    instant,
    print_table,
)
from services.scoring.training.evaluation.held_out import CHOSEN, HeldOutCutoff, hold_out
from services.scoring.training.evaluation.protocols import PROTOCOLS
from shared.event_files.options import ReadOptions as FileOptions
from shared.kernel.arrays import Floats
from shared.kernel.errors import Invalid
from shared.report.cells import cell
from shared.report.page import write

OUT: Final = "build/evaluate"
"""Folder of the public sets' predictions and cards; their figures are beside it, in `.json`."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Options of the command; texts as they were given."""

    events: str | None = None
    horizon_days: int | None = None
    cutoffs: str | None = None
    also_horizons: str | None = None
    labels: Labels = "silence"
    sets: Sequence[str] = tuple(PROTOCOLS)
    out: str | None = None
    threads: int = 1
    reading: FileOptions = field(default_factory=FileOptions)
    """How the file is to be read."""


def run(options: EvaluateOptions) -> int:
    """Print the table and write the figures.

    Returns 0, or 2 with a sentence that names the error.
    """
    try:
        if options.events is not None:
            _one_file(options, options.events)
        else:
            _public_sets(options)
    except Invalid as invalid:
        sys.stderr.write(f"evaluate: {invalid}\n")
        return 2
    return 0


def evaluate(
    events: LoadedFile,
    horizon_days: int,
    cutoffs: Sequence[float],
    threads: int,
    progress: Progress,
    labels: Labels = "silence",
) -> tuple[list[HeldOutCutoff], Found]:
    """Evaluate each held-out cutoff (unix seconds, UTC); returns the cutoffs and the figures."""
    tested = []
    for at in cutoffs:
        tested.append(
            hold_out(
                events.table, at, horizon_days, labels=labels, threads=threads, progress=progress
            )
        )
        progress(f"tested {instant(at)}", 1, 1)
    return tested, figures(tested, horizon_days, events.read.notes())


def _one_file(options: EvaluateOptions, file: str) -> None:
    path, out = Path(file), Path(options.out or OUT)
    cutoffs = None if options.cutoffs is None else _cutoffs(options.cutoffs)
    horizon = options.horizon_days
    if horizon is not None:
        _days("horizon-days", str(horizon))
    others = [_days("also-horizons", text) for text in _parts(options.also_horizons or "")]
    title = path.resolve().parent.name if path.stem == "events" else path.stem
    events = read(path, options.reading)
    if options.labels == "contractual":
        _contractual(events, others)
    horizon, cutoffs = _proposed(events, title, horizon, cutoffs)
    tested, found = _written(
        events, title, horizon, cutoffs, out, {}, options.threads, options.labels
    )
    if other_horizons := sorted({*others} - {horizon}):
        found["horizons"] = _horizons(events, title, tested, other_horizons, out, options.threads)
    (out / "metrics.json").write_text(_json(found))
    sys.stdout.write(f"\n{out}: predictions.csv, metrics.json, card.html\n")


def _proposed(
    events: LoadedFile, title: str, horizon: int | None, cutoffs: list[float] | None
) -> tuple[int, list[float]]:
    """Return the horizon and the cutoffs, proposed where they were not given; both are printed."""
    if horizon is None:
        horizon = proposal.horizon_days(events.table)
        gap = proposal.usual_gap_days(events.table)
        sys.stderr.write(
            f"{title}: --horizon-days {horizon}, proposed for a usual gap of {gap:.1f} days\n"
        )
    if cutoffs is None:
        cutoffs = proposal.cutoffs(events.table, horizon)
        dates = ",".join(instant(at) for at in cutoffs)
        sys.stderr.write(f"{title}: --cutoffs {dates}, proposed as the newest with outcomes\n")
    proposal.refuse_late(events.table, cutoffs)
    return horizon, cutoffs


def _public_sets(options: EvaluateOptions) -> None:
    out = Path(options.out or OUT)
    everything: dict[str, Any] = {}
    for name in options.sets:
        if name not in PROTOCOLS:
            raise Invalid("sets", f"{name!r} is none of {', '.join(PROTOCOLS)}")
        protocol = PROTOCOLS[name]
        path = path_of(name)
        if path is None:
            sys.stdout.write(f"\n{name}: not here, left out (see docs/model.md)\n")
            continue
        _, everything[name] = _written(
            read(path), name, protocol.horizon_days, [instant_of(t) for t in protocol.tests],
            out / name, protocol.reference, options.threads,
        )  # fmt: skip
    if not everything:
        raise Invalid("sets", "none of them is here: set EBBWATCH_DATA to the folder of the sets")
    figures_path = out.with_suffix(".json")
    figures_path.write_text(_json(everything))
    sys.stdout.write(f"\nfigures: {figures_path}, cards: {out}/*/card.html\n")


def _written(
    events: LoadedFile,
    title: str,
    horizon_days: int,
    cutoffs: Sequence[float],
    out: Path,
    reference: Any,
    threads: int,
    labels: Labels = "silence",
) -> tuple[list[HeldOutCutoff], Found]:
    """Evaluate, print, and write predictions and card into the folder."""
    for line in events.read.lines():
        sys.stderr.write(f"{title}: {line}\n")
    tested, found = evaluate(events, horizon_days, cutoffs, threads, _log(title), labels)
    out.mkdir(parents=True, exist_ok=True)
    predictions = [_frame(events, one, one.predictions[CHOSEN]) for one in tested]
    pl.concat(predictions).write_csv(out / "predictions.csv")
    write(card_page(title, tested, found), out / "card.html")
    dates = ", ".join(instant(at) for at in cutoffs)
    what = "silence" if labels == "silence" else "contract's end or silence"
    heading = f"{title}: {what} over {horizon_days} days, mean over {dates}"
    print_table(found, heading, sys.stdout, reference)
    return tested, found


def _contractual(events: LoadedFile, others: Sequence[int]) -> None:
    """Raise Invalid where the file or the other horizons do not fit contractual labels."""
    if others:
        raise Invalid("also-horizons", "of contractual labels only the main horizon is reported")
    if not has_contracts(events.table):
        raise Invalid("labels", "contractual, but no event is a contract_activated")


def _horizons(
    events: LoadedFile,
    title: str,
    tested: Sequence[HeldOutCutoff],
    others: Sequence[int],
    out: Path,
    threads: int,
) -> Found:
    """Evaluate other horizons at the same cutoffs: `horizons.csv`, and each one's mean measures."""
    main = tested[0].rows.horizon_days
    cutoffs = [one.cutoff for one in tested]
    by_horizon = {main: list(tested)}
    means: Found = {}
    for days in others:
        by_horizon[days], found = evaluate(
            events, days, cutoffs, threads, _log(f"{title} {days} d")
        )
        means[str(days)] = found["mean"]
    parts = []
    for at, one in enumerate(tested):
        p = {days: held[at].predictions[CHOSEN] for days, held in by_horizon.items()}
        for days, each in coherent(p, main).items():
            part = _frame(events, one, each)
            parts.append(part.with_columns(horizon_days=pl.lit(days)))
    columns = ["customer_id", "cutoff", "horizon_days", "p_churn"]
    pl.concat(parts).select(columns).write_csv(out / "horizons.csv")
    return means


def _frame(events: LoadedFile, one: HeldOutCutoff, p: Floats) -> pl.DataFrame:
    """Build one row for each customer of a cutoff."""
    return pl.DataFrame(
        {
            "customer_id": [cell(events.table.customers[at]) for at in one.rows.customer],
            "cutoff": [instant(one.cutoff)] * len(one.rows),
            "p_churn": p,
        }
    )


def _json(found: Any) -> str:
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _log(name: str) -> Progress:
    def report(what: str, done: int, total: int) -> None:
        if done == total:
            sys.stderr.write(f"{name}: {what} {done}/{total}\n")
            sys.stderr.flush()

    return report


def _cutoffs(text: str) -> list[float]:
    dates = _parts(text)
    if not dates:
        raise Invalid("cutoffs", "there is none")
    return sorted({instant_of(date) for date in dates})


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _days(field: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= HORIZON_DAYS_MAX:
        raise Invalid(field, f"is 1 to {HORIZON_DAYS_MAX} days, not {text}")
    return int(text)


def instant_of(text: str) -> float:
    """Return the unix seconds of a date or ISO 8601 time, UTC without an offset. Raises Invalid."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("cutoffs", f"{text!r} is not a date like 2011-03-01") from None
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp()
