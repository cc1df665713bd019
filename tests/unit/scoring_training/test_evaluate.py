"""The evaluation command on a small set: honest split, table, JSON, clear refusal."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from services.scoring.core.events import DAY_S
from services.scoring.training import evaluate as evaluation
from services.scoring.training.evaluate import PROTOCOLS, Protocol, main
from services.scoring.training.table import DATA_ENV
from tests.unit.scoring_training.histories import HORIZON_DAYS, day, shoppers


def _date(number: float) -> str:
    return datetime.fromtimestamp(day(number), UTC).date().isoformat()


@pytest.fixture
def small_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`shoppers` as a file, with a protocol of its own."""
    table = shoppers()
    folder = tmp_path / "small"
    folder.mkdir()
    pl.DataFrame(
        {
            "event_id": [str(i) for i in range(len(table.events))],
            "customer_id": [table.customers[row] for row in table.events.row],
            "ts": pl.Series(table.events.time * 1e3).cast(pl.Int64).cast(pl.Datetime("ms")),
            "event_type": ["purchase" if k == 1 else "looked" for k in table.events.kind],
            "amount": table.events.amount,
        }
    ).write_parquet(folder / "events.parquet")
    protocol = Protocol(
        horizon_days=HORIZON_DAYS, first=_date(30), step_days=7, tests=(_date(120), _date(134)),
        reference={"all": dict.fromkeys(evaluation.SHOWN, 0.5)},
    )  # fmt: skip
    monkeypatch.setattr(evaluation, "PROTOCOLS", {"small": protocol})
    monkeypatch.setenv(DATA_ENV, str(tmp_path))
    return tmp_path


def test_it_prints_a_table_and_writes_the_figures(
    small_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_set / "build" / "evaluation.json"
    assert main(["--out", str(out), "--threads", "1"]) == 0
    printed = capsys.readouterr()
    figures = json.loads(out.read_text())["small"]
    assert [c["cutoff"] for c in figures["by_cutoff"]] == [_date(120), _date(134)]
    for model in ("recency", "rule", "lightgbm"):
        mean = figures["mean"][model]["all"]["roc_auc"]
        each = [c["models"][model]["all"]["roc_auc"] for c in figures["by_cutoff"]]
        assert mean == pytest.approx(sum(each) / 2)
        assert f"{mean:.4f}" in printed.out
    assert "small: tested" in printed.err
    assert "(earlier LightGBM)" in printed.out


def test_a_set_that_is_not_there_is_told_with_the_mend(
    small_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DATA_ENV, str(small_set / "nowhere"))
    assert main(["--out", str(small_set / "x.json")]) == 2
    assert DATA_ENV in capsys.readouterr().err


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_tests_lie_at_least_a_horizon_after_the_first_training_cutoff(name: str) -> None:
    protocol = PROTOCOLS[name]
    first = datetime.fromisoformat(protocol.first).timestamp()
    for test in protocol.tests:
        apart = datetime.fromisoformat(test).timestamp() - first
        assert apart >= 2 * protocol.horizon_days * DAY_S
