"""A backtest from beginning to end: read, learn, tune, walk, judge, write.

One command turns a company's own file into figures and a page. Only the time before the window is
used to learn and tune.
"""

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace
from rich.console import Console

from deploy.backtest import figures
from deploy.backtest.budgeting import begin_of, tuned
from deploy.backtest.figures import Ran
from deploy.backtest.learning import chosen
from deploy.backtest.page import JSON_FILE, WARNINGS_FILE, render
from deploy.backtest.result import ENCODER, Result
from deploy.backtest.tasks import SimulatedWarning
from deploy.backtest.walk import Setup, setup_of, walk
from deploy.demo.progress import as_text, step
from services.alerts.core.policy import Policy
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE
from services.scoring.core.features.events import DAY_S
from services.scoring.settings import ScoringSettings
from services.scoring.training.data.event_file import read
from services.scoring.training.data.event_table import EventTable
from shared.event_files.options import ReadOptions as Reading
from shared.kernel.errors import Invalid
from shared.report.cells import cell

COLUMNS: Final = ("customer_id", "at", "cause", "probability", "value_at_risk", "band")
"""Columns of the warnings' file."""
PAGE_FILE: Final = "backtest.html"
WINDOW_SHARE: Final = 0.25
"""Share of the file's time that is the window, where none is named."""
HISTORY_DAYS_MIN: Final = 28
"""Days before the window; with fewer there is nothing to compare a customer with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestOptions:
    """The options of the command line. Days are UTC."""

    events: Path
    out: Path
    begin: datetime | None = None
    """None: the last quarter of the file."""
    end: datetime | None = None
    """None: the end of the file."""
    warnings_per_100: float | None = None
    reading: Reading = field(default_factory=Reading)
    """Settings for reading the file, given by the user."""


@dataclass(frozen=True, slots=True)
class BacktestWindow:
    """The test window. Unix seconds UTC, midnights."""

    begin: float
    end: float


def run(options: BacktestOptions, console: Console) -> Path:
    """Run the backtest, showing its progress; returns the page's path. Raises Invalid with the
    remedy."""
    began = time.monotonic()
    settings = ScoringSettings()
    with step(console, f"Read {options.events.name}") as current:
        loaded = read(options.events, options.reading)
        table = loaded.table
        current.note = f"{len(table.customers):,} customers, {len(table.events):,} events"
    for line in loaded.read.lines():
        console.print(f"  {as_text(line)}", soft_wrap=True)
    window = window_of(table, options)
    with step(console, f"Learn from what is before {_day(window.begin)}") as current:
        found = chosen(table, window.begin, settings)
        current.note = f"{found.predictor.method} {found.predictor.version}"
    policy = _policy(options, table, window, settings, console)
    setup = setup_of(settings, found.predictor, policy)
    ran = _walked(table, window, setup, console)
    with step(console, "Judge") as current:
        rule = figures.lapse_rule(settings.lapse_clock)
        result = replace(
            figures.result(ran, loaded.read, rule),
            wanted_per_100=options.warnings_per_100,
            method=found.predictor.method,
            model_version=found.predictor.version,
            notes=found.notes,
            seconds=round(time.monotonic() - began, 1),
        )
        ours = result.ours
        current.note = f"{ours.noticed:,} of {result.lapses:,} lapses noticed in time"
    return _write(options.out, result, ran.warned)


def window_of(table: EventTable, options: BacktestOptions) -> BacktestWindow:
    """Returns the requested window, or the last quarter of the file."""
    first = np.floor(table.events.time[0] / DAY_S)
    last = table.observed_until / DAY_S
    end = last if options.end is None else options.end.timestamp() / DAY_S
    if options.begin is None:
        begin = float(np.floor(end - WINDOW_SHARE * (end - first)))
    else:
        begin = options.begin.timestamp() / DAY_S
    if not first + HISTORY_DAYS_MIN <= begin < end <= last:
        raise Invalid(
            "--from, --to",
            f"the file has events from {_day(first * DAY_S)} to {_day(last * DAY_S)}: name a "
            f"window in it that begins {HISTORY_DAYS_MIN} days or more after its first day",
        )
    return BacktestWindow(begin * DAY_S, end * DAY_S)


def _policy(
    options: BacktestOptions,
    table: EventTable,
    window: BacktestWindow,
    settings: ScoringSettings,
    console: Console,
) -> Policy:
    """Returns alerts' initial policy, tuned to the requested budget."""
    policy = read_policy(POLICY_FILE)
    wanted = options.warnings_per_100
    if wanted is None:
        return policy
    days = int((window.begin - begin_of(table, window.begin)) // DAY_S) + 1
    with step(console, f"Tune on the {days:,} days before", days) as current:
        policy = tuned(table, window.begin, policy, wanted, settings, reached=current.reached)
        current.note = f"least expected value {policy.budget.expected_value_min or 0.0:,.2f}"
    return policy


def _walked(table: EventTable, window: BacktestWindow, setup: Setup, console: Console) -> Ran:
    """Walks to the end of the file: silences of the window may be warned of after it, too."""
    days = int((table.observed_until - window.begin) // DAY_S) + 1
    with step(console, f"Walk {days:,} days as live", days) as current:
        walked = walk(table, window.begin, table.observed_until, setup, reached=current.reached)
        told = [one for one in walked.warned if one.kind != "held_out"]
        current.note = f"{walked.looks:,} looks, {len(told):,} warnings"
    return Ran(table=table, begin=window.begin, end=window.end, walked=walked, warned=told)


def _write(out: Path, result: Result, warned: Sequence[SimulatedWarning]) -> Path:
    """Writes the warnings, the figures and the page; returns the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / WARNINGS_FILE).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for one in warned:
            rows.writerow([
                cell(one.customer_id), one.at.isoformat(), one.cause, f"{one.probability:.4f}",
                f"{one.value_at_risk:.2f}", one.band,
            ])  # fmt: skip
    data = msgspec.json.format(ENCODER.encode(result), indent=2)
    (out / JSON_FILE).write_bytes(data + b"\n")
    page = out / PAGE_FILE
    page.write_text(render(result), encoding="utf-8")
    return page


def _day(seconds: float) -> str:
    return f"{_moment(seconds):%Y-%m-%d}"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
