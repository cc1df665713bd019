"""Event files of any size, a part at a time: the same history as read at once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from services.scoring.training import event_stream
from services.scoring.training.event_stream import batches
from services.scoring.training.table import from_columns, from_parquet
from shared.kernel.errors import Invalid

N = 1_000


def _frame(*, zone: str | None = None) -> pl.DataFrame:
    random = np.random.default_rng(1)
    start = datetime(2020, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=int(h)) for h in random.integers(0, 5_000, N)]
    return pl.DataFrame(
        {
            "event_id": [f"e{n}" for n in range(N)],
            "customer_id": [f"{n:03}" for n in random.integers(0, 90, N)],
            "ts": pl.Series(times).dt.convert_time_zone("UTC"),
            "event_type": random.choice(["purchase", "refund", "page_viewed"], N),
            "amount": [None if n % 7 == 0 else float(n % 50) for n in range(N)],
        }
    ).with_columns(
        pl.col("ts").dt.convert_time_zone(zone) if zone else pl.col("ts").dt.replace_time_zone(None)
    )


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """As Parquet, without a zone."""
    path = tmp_path / "whole.parquet"
    _frame().write_parquet(path)
    return path


def test_parts_of_parquet_are_the_whole(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "ROWS_AT_ONCE", 64)
    parts = list(batches(whole))
    assert len(parts) >= N // 64
    one, other = from_columns(parts), from_parquet(whole)
    assert one.customers == other.customers
    assert one.fingerprint(np.inf) == other.fingerprint(np.inf)


def test_times_with_a_zone_are_the_same_instants(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "zoned.parquet"
    _frame(zone="Asia/Shanghai").write_parquet(path)
    one, other = from_columns(batches(path)), from_parquet(whole)
    assert one.fingerprint(np.inf) == other.fingerprint(np.inf)


def test_csv_is_read_alike_and_its_ids_stay_text(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customer 007 is not customer 7."""
    monkeypatch.setattr(event_stream, "CSV_BYTES_AT_ONCE", 4_096)
    path = tmp_path / "events.csv"
    _frame().write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")
    parts = list(batches(path))
    assert len(parts) > 5
    one, other = from_columns(parts), from_parquet(whole)
    assert one.customers == other.customers
    assert one.fingerprint(np.inf) == other.fingerprint(np.inf)


def test_a_missing_column_and_a_missing_value_are_named(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    _frame().drop("ts").write_parquet(path)
    with pytest.raises(Invalid, match=r"ts: column missing in events.parquet"):
        list(batches(path))
    broken = _frame().with_columns(
        customer_id=pl.when(pl.col("event_id") == "e9").then(None).otherwise("customer_id")
    )
    broken.write_parquet(path)
    with pytest.raises(Invalid, match="customer_id: 1 rows"):
        list(batches(path))


def test_a_broken_csv_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("event_id,customer_id,ts,event_type,amount\ne1,a,yesterday,purchase,1\n")
    with pytest.raises(Invalid, match=r"events\.csv"):
        list(batches(path))
