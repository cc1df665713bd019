"""Contractual labels: for a running contract its end is churn; an ended one gives no row."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.training.data.event_table import EventTable, from_columns
from services.scoring.training.data.panel import RowOptions, build_panel
from services.scoring.training.evaluation.evaluate import EvaluateOptions, run
from services.scoring.training.fit.candidates import learn
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import END, HORIZON_DAYS, START, batch, day, shoppers

CONTRACTUAL = RowOptions(labels="contractual")
ACTIVATED, ENDED = Kind.CONTRACT_ACTIVATED, Kind.CONTRACT_ENDED


def history(*more: tuple[str, Kind, float]) -> EventTable:
    """Return customers who bought on the first day, with their further events."""
    names = sorted({name for name, _, _ in more})
    bought = [(name, Kind.PURCHASE, 1.0) for name in names]
    return from_columns([batch([*bought, *more])], day(100))


EVENTS = (
    ("buys, keeps", ACTIVATED, 2.0),
    ("buys, keeps", Kind.PURCHASE, 45.0),
    ("buys, ends", ACTIVATED, 2.0),
    ("buys, ends", Kind.PURCHASE, 45.0),
    ("buys, ends", ENDED, 46.0),
    ("silent, keeps", ACTIVATED, 2.0),
    ("silent, ends later", ACTIVATED, 2.0),
    ("silent, ends later", ENDED, 50.0),
    ("changes", ACTIVATED, 2.0),
    ("changes", ENDED, 44.0),
    ("changes", ACTIVATED, 45.0),
    ("gone before", ACTIVATED, 2.0),
    ("gone before", ENDED, 30.0),
    ("no contract", Kind.INTERACTION, 2.0),
    ("ends without a start", ENDED, 45.0),
)


def labels(asked: RowOptions) -> dict[str, bool]:
    """Return whether each row churned, at day 40 and over ten days."""
    table = history(*EVENTS)
    rows = build_panel(table, [day(40)], 10, day(100), asked=asked)
    return {table.customers[c]: bool(s) for c, s in zip(rows.customer, rows.silent, strict=True)}


def test_the_contract_decides_where_one_runs() -> None:
    found = labels(CONTRACTUAL)
    assert found == {
        "buys, keeps": False,
        "buys, ends": True,
        "silent, keeps": False,  # the last complete horizon: silent, and under contract
        "silent, ends later": False,  # at day 50, which is after [40, 50)
        "changes": False,
        "no contract": True,  # by silence, as without contracts
        "ends without a start": True,  # no contract was known to run: by silence
    }


def test_silence_decides_without_a_contract_and_an_ended_one_gives_no_row() -> None:
    found = labels(RowOptions())
    assert "gone before" not in found
    assert {name for name, silent in found.items() if not silent} == {"buys, keeps", "buys, ends"}


def test_rows_left_out_for_an_ended_contract_are_not_called_thinned() -> None:
    rows = build_panel(history(*EVENTS), [day(40)], 10, day(100))
    assert rows.rows_thinned == 0
    assert len(rows) == 7


def test_training_without_any_contract_is_refused() -> None:
    with pytest.raises(Invalid, match="no contract was ever activated"):
        learn(shoppers(), END, HORIZON_DAYS, asked=CONTRACTUAL)


def file_of(folder: Path, *, contracts: bool) -> Path:
    """Return monthly payers; the contract of those who paid late ends, though they paid."""
    random = np.random.default_rng(9)
    rows: list[tuple[str, float, str]] = []
    for n in range(300):
        name, slow = f"c{n:03}", n % 3 == 0
        start = random.uniform(0, 30)
        ends = start + random.uniform(60, 200) if slow else 400.0
        rows.append((name, start, "contract_activated"))
        at = start
        while at < min(ends + 30, 240):
            rows.append((name, at, "purchase"))
            at += 30 + (random.uniform(8, 12) if slow else random.uniform(-1, 1))
        if ends < 240:
            rows.append((name, ends, "contract_ended"))
    kept = [row for row in rows if contracts or row[2] == "purchase"]
    frame = pl.DataFrame(
        {
            "event_id": [str(i) for i in range(len(kept))],
            "customer_id": [row[0] for row in kept],
            "ts": [int(START + row[1] * 86_400) for row in kept],
            "event_type": [row[2] for row in kept],
        }
    )
    frame.write_parquet(folder / "payers.parquet")
    return folder / "payers.parquet"


def evaluated(folder: Path, *, contracts: bool = True, **more: object) -> int:
    """Run the command on such a file."""
    options = EvaluateOptions(
        events=str(file_of(folder, contracts=contracts)),
        horizon_days=28,
        cutoffs="2021-03-25",
        out=str(folder / "out"),
        labels="contractual",
        **more,  # type: ignore[arg-type] # the test's own words
    )
    return run(options)


def test_evaluate_learns_contracts(tmp_path: Path) -> None:
    assert evaluated(tmp_path) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    predictions = pl.read_csv(tmp_path / "out" / "predictions.csv")
    # Customers with a contract that ended before the cutoff are not predicted.
    assert 200 < len(predictions) < 300
    slow = predictions["customer_id"].str.slice(1).cast(pl.Int64) % 3 == 0
    ends, stays = predictions.filter(slow)["p_churn"], predictions.filter(~slow)["p_churn"]
    assert ends.mean() > 3 * stays.mean()  # type: ignore[operator]
    assert "chosen" in json.dumps(found["mean"])


@pytest.mark.parametrize(
    ("contracts", "more", "wrong"),
    [(False, {}, "no event is a contract_activated"), (True, {"also_horizons": "14"}, "horizons")],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    contracts: bool,
    more: dict[str, object],
    wrong: str,
) -> None:
    assert evaluated(tmp_path, contracts=contracts, **more) == 2
    assert wrong in capsys.readouterr().err
