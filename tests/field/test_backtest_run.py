"""From a file of events to warnings, figures and a page, without any knowledge of the future."""

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from deploy.backtest import budgeting
from deploy.backtest import run as running
from deploy.backtest.learning import Chosen
from deploy.backtest.page import JSON_FILE, WARNINGS_FILE
from deploy.backtest.result import DECODER
from deploy.backtest.run import COLUMNS, PAGE_FILE, BacktestOptions, run
from deploy.backtest.walk import Walked, setup_of, walk
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE
from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.model.rule_model import RuleModel
from services.scoring.settings import ScoringSettings
from services.scoring.training.data.event_table import EventTable
from shared.event_files.options import ReadOptions as Reading
from shared.kernel.errors import Invalid
from tests.field.lives import BEGIN, START
from tests.field.planted import customers
from tests.field.table import moment, second, table

EVERYBODY = customers(3, signs=2, calm=6, others=12)
HISTORY = table(EVERYBODY)
FROM, TO = START + timedelta(days=BEGIN), START + timedelta(days=BEGIN + 120)
CONSOLE = Console(quiet=True)


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Return the purchases as a company may export them."""
    path = tmp_path / "orders.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["Kunde", "Datum", "Betrag"])
        for one in EVERYBODY:
            for event in one.events:
                if event.kind == Kind.PURCHASE:
                    rows.writerow([one.id, f"{moment(event.day):%Y-%m-%d %H:%M}", event.amount])
    return path


@pytest.fixture(autouse=True)
def ruled(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace training: the rule scores. Record the end of the period to learn from."""
    ends: list[float] = []

    def chosen(_: object, end: float, settings: ScoringSettings) -> Chosen:
        ends.append(end)
        return Chosen(RuleModel(settings.horizon_days), ["the rule was chosen by the test"])

    monkeypatch.setattr(running, "chosen", chosen)
    monkeypatch.setattr(budgeting, "chosen", chosen)
    return ends


def options(orders: Path, **changes: object) -> BacktestOptions:
    """Return options with a window of 120 days."""
    found = BacktestOptions(
        events=orders,
        out=orders.parent / "out",
        begin=FROM,
        end=TO,
        reading=Reading(columns={"customer_id": "Kunde", "ts": "Datum", "amount": "Betrag"}),
    )
    return replace(found, **changes)  # type: ignore[arg-type] # the test's own words


def warnings_of(out: Path) -> list[dict[str, str]]:
    """Return the rows of the file."""
    with (out / WARNINGS_FILE).open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def test_a_file_becomes_a_page(orders: Path, ruled: list[float]) -> None:
    """The page has the ids of the file, and its figures agree with the list."""
    page = run(options(orders), CONSOLE)
    assert page == orders.parent / "out" / PAGE_FILE
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    rows = warnings_of(page.parent)
    assert tuple(rows[0]) == COLUMNS
    assert {row["customer_id"] for row in rows} <= {one.id for one in EVERYBODY}
    assert all(datetime.fromisoformat(row["at"]).utcoffset() == timedelta() for row in rows)
    found = DECODER.decode((page.parent / JSON_FILE).read_bytes())
    assert (found.begin, found.end) == (FROM.date(), TO.date())
    within = [row for row in rows if FROM <= datetime.fromisoformat(row["at"]) < TO]
    assert len(found.warned) == len(within) == sum(one.warnings for one in found.causes) > 0
    assert found.ours.noticed <= found.lapses
    assert {one.customer for one in found.at_risk} <= {row["customer_id"] for row in rows}
    assert ruled == [FROM.timestamp()]


def test_names_of_others_stay_text(orders: Path) -> None:
    """The list of warnings has no formula, the terminal no control sequence and no markup.

    This holds for the file's name and for its headers, too.
    """
    hostile = ("=HYPERLINK(0)", "+1", "@SUM(1)", "-1+1", "\x1b[31mred", "[red]x[/]", "\u202ecod")
    text = orders.read_text(encoding="utf-8")
    for at, one in enumerate(EVERYBODY):
        text = text.replace(f"{one.id};", f'"{hostile[at % len(hostile)]}{one.id}";')
    path = orders.parent / "evil\x1b[2J[red].csv"
    text = text.replace("\n", ";x\n").replace("Betrag;x", "Betrag;no\x1b[2Jte[red]", 1)
    path.write_text(text, encoding="utf-8")
    shown = io.StringIO()
    console = Console(file=shown, highlight=False, width=400)
    page = run(options(path, out=orders.parent / "out"), console)
    named = {row["customer_id"] for row in warnings_of(page.parent)}
    assert any(name.startswith("'=HYPERLINK") for name in named)
    assert not any(name.startswith(("=", "+", "-", "@")) for name in named)
    assert "evil\\x1b[2J[red].csv" in shown.getvalue()
    assert "no\\x1b[2Jte[red]" in shown.getvalue()
    for text in (shown.getvalue(), page.read_text(encoding="utf-8")):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_a_budget_is_tuned_on_what_is_before(orders: Path, ruled: list[float]) -> None:
    """There are fewer warnings due to numbers; the budget is tuned on the time before the window.

    Training uses the time before that.
    """
    every = len(warnings_of(run(options(orders), CONSOLE).parent))
    ruled.clear()
    out = run(options(orders, warnings_per_100=3.0), CONSOLE).parent
    assert len(warnings_of(out)) < every
    assert DECODER.decode((out / JSON_FILE).read_bytes()).wanted_per_100 == 3.0
    tuned_from = FROM.timestamp() - budgeting.TUNED_DAYS * DAY_S
    assert ruled == [FROM.timestamp(), tuned_from]


def test_without_a_window_it_is_the_last_quarter(orders: Path) -> None:
    """The default window is the last quarter of the file's time span."""
    found = running.window_of(HISTORY, options(orders, begin=None, end=None))
    first = np.floor(HISTORY.events.time[0] / DAY_S) * DAY_S
    assert found.end == HISTORY.observed_until
    assert found.begin == pytest.approx(found.end - 0.25 * (found.end - first), abs=DAY_S)
    assert found.begin % DAY_S == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"begin": START + timedelta(days=20)},
        {"begin": TO, "end": FROM},
        {"end": datetime(2030, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_window_that_the_file_does_not_tell_of(orders: Path, changes: dict[str, object]) -> None:
    """The window is refused, and the error names the file's time span."""
    with pytest.raises(Invalid, match="the file has events from 2024-01-0"):
        running.window_of(HISTORY, options(orders, **changes))


def test_a_history_too_short_to_tune_on(orders: Path) -> None:
    """A level that is found on a few days would be due to chance."""
    with pytest.raises(Invalid, match="--warnings-per-100"):
        budgeting.begin_of(HISTORY, second(40.0))


def until(history: EventTable, day: float) -> Walked:
    """Return a walk over everything that is known on that day."""
    known = history.between(-np.inf, second(day))
    cut = EventTable(history.customers, known, second(day))
    setup = setup_of(ScoringSettings(), RuleModel(28), read_policy(POLICY_FILE))
    return walk(cut, second(BEGIN), second(day), setup)


def test_nothing_is_known_before_its_day() -> None:
    """The warnings until a day are the same whether the file ends there or later."""
    early, late = until(HISTORY, BEGIN + 60), until(HISTORY, BEGIN + 120)
    assert early.warned
    assert late.warned[: len(early.warned)] == early.warned
    assert late.warned[len(early.warned)].at > moment(BEGIN + 60)
