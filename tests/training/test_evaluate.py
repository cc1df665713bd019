"""The evaluation command: on a company's file and on the public sets."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from services.scoring.core.features.events import DAY_S
from services.scoring.training.data.event_table import DATA_ENV
from services.scoring.training.evaluation import evaluate as evaluation
from services.scoring.training.evaluation.evaluate import EvaluateOptions, run
from services.scoring.training.evaluation.proposal import (
    HORIZONS_DAYS,
    cutoffs,
    horizon_days,
    usual_gap_days,
)
from services.scoring.training.evaluation.protocols import PROTOCOLS, SHOWN, Protocol
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import HORIZON_DAYS, day, purchases, shoppers

MODELS = {"recency", "rfm_logistic", "bg_nbd", "mbg_nbd", "rule", "lightgbm", "chosen",
          "would_serve"}  # fmt: skip


def _date(number: float) -> str:
    return datetime.fromtimestamp(day(number), UTC).date().isoformat()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide `shoppers` as an event file in a folder of its own."""
    table = shoppers()
    (tmp_path / "small").mkdir()
    pl.DataFrame(
        {
            "event_id": [str(i) for i in range(len(table.events))],
            "customer_id": [table.customers[row] for row in table.events.row],
            "ts": pl.Series(table.events.time * 1e3).cast(pl.Int64).cast(pl.Datetime("ms")),
            "event_type": ["purchase" if k == 1 else "looked" for k in table.events.kind],
            "amount": table.events.amount,
        }
    ).write_parquet(tmp_path / "small" / "events.parquet")
    return tmp_path


def _options(folder: Path, **changed: object) -> EvaluateOptions:
    given = {
        "events": str(folder / "small" / "events.parquet"), "horizon_days": HORIZON_DAYS,
        "cutoffs": f"{_date(120)},{_date(134)}", "out": str(folder / "out"), **changed,
    }  # fmt: skip
    return EvaluateOptions(**given)  # type: ignore[arg-type]


def test_a_companys_file_gives_predictions_figures_and_a_card(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_options(folder)) == 0
    out = folder / "out"
    predictions = pl.read_csv(out / "predictions.csv")
    assert predictions.columns == ["customer_id", "cutoff", "p_churn"]
    assert predictions["cutoff"].unique().sort().to_list() == [_date(120), _date(134)]
    assert predictions.group_by("customer_id", "cutoff").len()["len"].max() == 1
    figures = json.loads((out / "metrics.json").read_text())
    assert set(figures["mean"]) == MODELS
    for name in MODELS:
        for subset in ("all", "ge2", "active"):
            assert set(SHOWN) <= set(figures["mean"][name][subset])
        each = [c["models"][name]["all"]["roc_auc"] for c in figures["cutoffs"]]
        assert figures["mean"][name]["all"]["roc_auc"] == pytest.approx(sum(each) / 2)
    for cutoff in figures["cutoffs"]:
        assert cutoff["chosen"]["model"]
        assert cutoff["chosen"]["reason"]
    printed = capsys.readouterr()
    assert f"{figures['mean']['chosen']['all']['log_loss']:.4f}" in printed.out
    assert "small: tested" in printed.err
    card = (out / "card.html").read_text()
    assert "Churn model card: small" in card
    assert "SHAP" in card


def test_a_csv_gives_the_same_numbers(folder: Path) -> None:
    parquet = folder / "small" / "events.parquet"
    pl.read_parquet(parquet).write_csv(folder / "events.csv")
    cutoffs = _date(134)
    assert run(_options(folder, cutoffs=cutoffs, out=str(folder / "a"))) == 0
    csv = _options(
        folder, cutoffs=cutoffs, events=str(folder / "events.csv"), out=str(folder / "b")
    )
    assert run(csv) == 0
    one, two = (pl.read_csv(folder / name / "predictions.csv") for name in "ab")
    assert one.equals(two)


def test_several_horizons_tell_when_and_never_contradict_themselves(folder: Path) -> None:
    assert run(_options(folder, cutoffs=_date(134), also_horizons="7, 14")) == 0
    out = folder / "out"
    found = pl.read_csv(out / "horizons.csv")
    assert found["horizon_days"].unique().sort().to_list() == [7, HORIZON_DAYS]
    wide = found.pivot("horizon_days", index="customer_id", values="p_churn")
    assert (wide["7"] >= wide[str(HORIZON_DAYS)]).all()
    main = found.filter(pl.col("horizon_days") == HORIZON_DAYS)
    assert main["p_churn"].equals(pl.read_csv(out / "predictions.csv")["p_churn"])
    horizons = json.loads((out / "metrics.json").read_text())["horizons"]
    assert set(horizons) == {"7"}
    longer = json.loads((out / "metrics.json").read_text())["mean"]["chosen"]["all"]["base_rate"]
    assert horizons["7"]["chosen"]["all"]["base_rate"] > longer


def test_horizon_and_cutoffs_are_proposed_from_the_data_and_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_options(folder, cutoffs=None, horizon_days=None)) == 0
    figures = json.loads((folder / "out" / "metrics.json").read_text())
    days = figures["horizon_days"]
    assert days in HORIZONS_DAYS
    assert [c["labels_observed"] for c in figures["cutoffs"]] == [True] * len(figures["cutoffs"])
    dates = [datetime.fromisoformat(c["cutoff"]) for c in figures["cutoffs"]]
    assert {(b - a).days for a, b in pairwise(dates)} <= {days}
    printed = capsys.readouterr().err
    assert f"small: --horizon-days {days}, proposed for a usual gap of " in printed
    assert f"small: --cutoffs {','.join(c['cutoff'] for c in figures['cutoffs'])}, " in printed
    for name in ("roc_auc", "log_loss", "ece"):
        mean = figures["mean"]
        assert mean["would_serve"]["all"][name] == pytest.approx(mean["chosen"]["all"][name])


@pytest.mark.parametrize(
    ("gap", "days", "proposed"), [(3, 400, 7), (7, 400, 14), (25, 400, 60), (80, 400, 90)]
)
def test_a_horizon_is_two_usual_gaps_but_never_most_of_the_history(
    gap: int, days: int, proposed: int
) -> None:
    table = purchases(
        *((f"c{n}", float(at)) for n in range(5) for at in range(0, days, gap)), until=days
    )
    assert usual_gap_days(table) == gap
    assert horizon_days(table) == proposed
    found = cutoffs(table, proposed)
    assert found[-1] == day(days) - proposed * DAY_S
    assert len(found) == min(3, int(days / proposed) - 2)


def test_a_history_too_short_for_a_horizon_is_refused_with_the_way_out() -> None:
    table = purchases(("a", 0.0), ("a", 5.0), until=20)
    with pytest.raises(Invalid, match=r"covers 20 d.*give --horizon-days"):
        horizon_days(table)
    once = purchases(("a", 0.0), until=400)
    assert horizon_days(once) == 90
    with pytest.raises(Invalid, match="too few for a horizon of 180 days"):
        cutoffs(once, 180)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cutoffs": "soon"}, "cutoffs: 'soon' is not a date"),
        ({"cutoffs": " , "}, "cutoffs: there is none"),
        (
            {"cutoffs": "2030-01-01"},
            "cutoffs: 2030-01-01 lies beyond the data, whose",
        ),
        ({"cutoffs": None, "horizon_days": 80}, "cutoffs: the file covers 1"),
        ({"horizon_days": 0}, "horizon-days: is 1 to"),
        ({"also_horizons": "7,soon"}, "also-horizons: is 1 to 3650 days, not soon"),
        ({"cutoffs": "1999-01-01"}, "cutoffs: no customer has bought before 1999-01-01"),
        ({"events": "nowhere.csv"}, "events: there is no file nowhere.csv"),
        ({"events": None, "sets": ["moon"]}, "sets: 'moon' is none of"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_field(
    folder: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, object], said: str
) -> None:
    assert run(_options(folder, **changed)) == 2
    assert said in capsys.readouterr().err


def test_the_public_sets_are_printed_beside_the_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = Protocol(
        HORIZON_DAYS, (_date(134),), {"all": {"study BG/NBD": dict.fromkeys(SHOWN, 0.5)}}
    )
    protocols = {"small": protocol, "gone": protocol}
    monkeypatch.setattr(evaluation, "PROTOCOLS", protocols)
    monkeypatch.setenv(DATA_ENV, str(folder))
    out = folder / "build" / "evaluate"
    assert run(EvaluateOptions(sets=("small", "gone"), out=str(out))) == 0
    printed = capsys.readouterr().out
    assert "study BG/NBD" in printed
    assert "gone: not here" in printed
    assert set(json.loads((folder / "build" / "evaluate.json").read_text())) == {"small"}
    assert (out / "small" / "predictions.csv").exists()
    assert run(EvaluateOptions(sets=("gone",), out=str(out))) == 2


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_study_is_quoted_with_every_measure(name: str) -> None:
    for models in PROTOCOLS[name].reference.values():
        for figures in models.values():
            assert set(figures) == set(SHOWN)
            assert figures["roc_auc"] is not None
