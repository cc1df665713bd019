"""The committed dashboards are those of the code, and each rule finds an error that breaks it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.__main__ import main
from deploy.grafana.generate import committed
from deploy.grafana.lint import findings, known
from tests.dashboards.__main__ import check_files
from tests.dashboards.live import Asked, Source, asked

KNOWN = known()
BOARD = "ebbwatch-intake.json"
SUFFIX = '{job=~"$job", instance=~"$instance"}'

Board = dict[str, Any]


def test_committed_dashboards_are_generated_and_break_no_rule() -> None:
    assert check_files() == []


def test_there_are_six_dashboards_of_schema_42() -> None:
    boards = committed()
    assert sorted(boards) == [
        f"ebbwatch-{name}.json"
        for name in ("delivery", "intake", "overview", "scoring", "servers", "warnings")
    ]
    assert {board["schemaVersion"] for board in boards.values()} == {42}


def test_drift_is_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / BOARD).write_text("{}")
    (tmp_path / "ebbwatch-gone.json").write_text("{}")
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert BOARD in said
    assert "ebbwatch-gone.json" in said
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


def test_every_metric_of_the_overview_is_asked_for_once_per_panel() -> None:
    queries = list(asked(committed()["ebbwatch-overview.json"]))
    assert len(queries) == len(set(queries)) > 20
    assert all(isinstance(query, Asked) and query.expr for query in queries)


@pytest.mark.parametrize(
    ("values", "found"),
    [([[[1, "0"]]], True), ([[[1, "NaN"], [2, "3"]]], True), ([[[1, "NaN"]]], False), ([], False)],
)
def test_only_numbers_are_data(
    values: list[list[list[Any]]], found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def answer(_: Source, path: str, parameters: dict[str, Any]) -> Any:
        sent.append(f"{path}?{parameters['query']}")
        return {"result": [{"metric": {}, "values": each} for each in values]}

    monkeypatch.setattr(Source, "_get", answer)
    source = Source("http://127.0.0.1:1", {"job": "a|b"})
    expr = '(max(x{job=~"$job"}) or vector(0)) + rate(y[$__rate_interval])'
    assert source.has_data(Asked("board", "panel", "A", expr, graph=True)) is found
    assert sent == ['/query_range?(max(x{job=~"a|b"})) + rate(y[10s])']


def _panel(board: Board, kind: str = "timeseries") -> Board:
    found: Board = next(each for each in board["panels"] if each["type"] == kind)
    return found


def _expr(expr: str, legend: str = "x") -> Callable[[Board], None]:
    def plant(board: Board) -> None:
        _panel(board)["targets"][0].update(expr=expr, legendFormat=legend)

    return plant


def _fixed_source(board: Board) -> None:
    _panel(board)["targets"][0]["datasource"] = {"type": "prometheus", "uid": "PBFA97CFB"}


def _fixed_source_of_panel(board: Board) -> None:
    _panel(board)["datasource"] = {"type": "prometheus", "uid": "PBFA97CFB"}


def _drop_variable(name: str) -> Callable[[Board], None]:
    def plant(board: Board) -> None:
        kept = [each for each in board["templating"]["list"] if each["name"] != name]
        board["templating"]["list"] = kept

    return plant


PLANTED: dict[str, tuple[Callable[[Board], None], str]] = {
    "inputs": (lambda board: board.update(__inputs=[]), "`__inputs`"),
    "data source": (_fixed_source, "data source of query A is not the variable"),
    "data source of a panel": (_fixed_source_of_panel, "its data source is not the variable"),
    "no data source variable": (_drop_variable("datasource"), "no variable `datasource`"),
    "no job": (_drop_variable("job"), "no variable `job`"),
    "no instance": (_drop_variable("instance"), "no variable `instance`"),
    "same id": (lambda board: _panel(board).update(id=2), "`id` of their own"),
    "same title": (lambda b: _panel(b).update(title="Source clocks wrong"), "`title` of their own"),
    "no description": (lambda board: _panel(board).update(description="Events."), "when to worry"),
    "no unit": (lambda b: _panel(b)["fieldConfig"]["defaults"].pop("unit"), "no unit"),
    "no query": (lambda board: _panel(board).update(targets=[]), "no query"),
    "syntax": (_expr("sum(rate(x["), "does not parse"),
    "unknown metric": (_expr(f"max(ebbwatch_ingest_lag{SUFFIX})"), "is declared nowhere"),
    "unknown label": (
        _expr(f"max by (shard) (ebbwatch_ingest_stopped{SUFFIX})"),
        "has no label shard",
    ),
    "unknown matcher": (
        _expr('max(ebbwatch_ingest_stopped{kind="a", job=~"$job", instance=~"$instance"})'),
        "has no label kind",
    ),
    "fixed job": (
        _expr('max(ebbwatch_ingest_stopped{job="ingest", instance=~"$instance"})'),
        "not restricted to $job and $instance",
    ),
    "bare counter": (_expr(f"sum(ebbwatch_ingest_events_total{SUFFIX})"), "not inside rate"),
    "counter of a histogram": (
        _expr(f"sum(ebbwatch_ingest_batch_seconds_count{SUFFIX})"),
        "not inside rate",
    ),
    "rate of a gauge": (
        _expr(f"sum(rate(ebbwatch_ingest_stopped{SUFFIX}[$__rate_interval]))"),
        "which is no counter",
    ),
    "fixed window": (
        _expr(f"sum(rate(ebbwatch_ingest_events_total{SUFFIX}[5m]))"),
        "use $__rate_interval",
    ),
    "sum of a shared value": (
        _expr(f"sum(ebbwatch_ingest_database_bytes{SUFFIX})"),
        "take max, not sum",
    ),
    "shared value as it is": (
        _expr(f"ebbwatch_ingest_freshness_seconds{SUFFIX}"),
        "take max, not all",
    ),
    "lost legend": (
        _expr(
            f"sum by (topic) (max by (topic, partition) (ebbwatch_ingest_lag_records{SUFFIX}))",
            "{{partition}}",
        ),
        "the legend names partition",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_found(name: str) -> None:
    plant, message = PLANTED[name]
    board = copy.deepcopy(committed()[BOARD])
    assert findings(board, KNOWN) == []
    plant(board)
    assert any(message in each for each in findings(board, KNOWN)), findings(board, KNOWN)
