"""Public data sets: read from the folder first, else from the packages that contain them."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from services.scoring.training.data import datasets
from services.scoring.training.data.datasets import completejourney, path_of
from services.scoring.training.data.event_file import read
from services.scoring.training.data.event_table import DATA_ENV


def test_the_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cdnow").mkdir()
    (tmp_path / "cdnow" / "events.parquet").write_bytes(b"x")
    monkeypatch.setenv(DATA_ENV, str(tmp_path))
    assert path_of("cdnow", tmp_path / "built") == tmp_path / "cdnow" / "events.parquet"


def test_cdnow_comes_from_a_package_that_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "packages" / "lifetimes" / "datasets"
    home.mkdir(parents=True)
    (home / "CDNOW_master.txt").write_text(
        " customer_id  date number_of_cds  dollar_value\n"
        " 00001 19970101  1   11.77\n 00002 19970112  1   12.00\n 00002 19970112  5   77.00\n"
    )
    monkeypatch.setenv(DATA_ENV, str(tmp_path / "nowhere"))
    monkeypatch.setattr(datasets, "PACKAGES", tmp_path / "packages")
    path = path_of("cdnow", tmp_path / "built")
    assert path is not None
    table = read(path).table
    assert table.customers == ("00001", "00002")
    assert sorted(table.events.amount) == [11.77, 12.0, 77.0]
    assert path_of("cdnow", tmp_path / "built") == path


def test_baskets_mailings_and_coupons_become_events(tmp_path: Path) -> None:
    at = datetime(2017, 3, 4, 9)  # noqa: DTZ001 (as the publisher's files have it)
    tables: dict[str, dict[str, list[object]]] = {
        "transactions": {"basket_id": [1, 1], "household_id": [7, 7], "sales_value": [1.5, 2.0],
                         "transaction_timestamp": [at, at]},
        "campaign_descriptions": {"campaign_id": [5], "start_date": [at]},
        "campaigns": {"campaign_id": [5], "household_id": [7]},
        "coupon_redemptions": {"household_id": [7], "redemption_date": [at]},
    }  # fmt: skip
    for name, columns in tables.items():
        pl.DataFrame(columns).write_parquet(tmp_path / f"{name}.parquet")
    events = completejourney(tmp_path)
    assert events["event_type"].to_list() == ["purchase", "coupon_redeemed", "campaign_received"]
    assert events["amount"].to_list() == [3.5, None, None]
    assert events["event_id"].n_unique() == 3


def test_a_set_that_no_package_carries_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_ENV, str(tmp_path))
    assert path_of("online_retail_ii", tmp_path) is None
