"""Event files as real exports: read leniently, or refused with the column's name."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.training.data.event_file import LoadedFile, read
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.event_files import HEAD, both, utc, written


def _csv(folder: Path, text: str, name: str = "events.csv") -> LoadedFile:
    return both(written(folder, text, name))


def _parquet(folder: Path, **columns: object) -> LoadedFile:
    path = folder / "events.parquet"
    pl.DataFrame({"event_type": "purchase", **columns}).write_parquet(path)
    return both(path)


def test_a_csv_with_gaps_signs_and_guests(tmp_path: Path) -> None:
    found = _csv(
        tmp_path,
        HEAD + "1,a,2020-01-02,purchase,3.5\n2,a,2020-01-03T10:00:00Z,Purchase,\n"
        "3,b,2020-01-04 10:00,purchase,-4\n4,b,2020-01-04T10:00:00.5+02:00,cancellation,-3\n"
        "5,,2020-01-05,purchase,1\n6,b,2020-01-06,page_view,\n",
    )
    events = found.table.events
    assert found.table.customers == ("a", "b")
    assert found.read.without_customer == 1
    assert found.read.amounts_known == pytest.approx(1 / 3)
    np.testing.assert_array_equal(
        events.time,
        [utc(2020, 1, 2), utc(2020, 1, 3, 10), utc(2020, 1, 4, 8) + 0.5, utc(2020, 1, 4, 10),
         utc(2020, 1, 6)],
    )  # fmt: skip
    kinds = [Kind.PURCHASE, Kind.PURCHASE, Kind.REFUND, Kind.PURCHASE, Kind.INTERACTION]
    np.testing.assert_array_equal(events.kind, kinds)
    np.testing.assert_array_equal(events.amount, [3.5, np.nan, 3.0, np.nan, np.nan])


def test_no_amounts_no_ids_and_another_separator(tmp_path: Path) -> None:
    found = _csv(tmp_path, "customer_id;ts;event_type\n1;1577836800;purchase\n"
                 "1;1577836800000;purchase\n2;20200101;purchase\n")  # fmt: skip
    assert len(found.table.events) == 3
    assert set(found.table.events.time) == {utc(2020, 1, 1)}
    assert found.read.amounts_known == 0.0


def test_quotes_a_byte_order_mark_and_slashes(tmp_path: Path) -> None:
    found = _csv(tmp_path, '\ufeff"customer_id","ts","event_type"\n"Müller, 7","2020/1/02 3:04:05",'
                 '"purchase"\n')  # fmt: skip
    assert found.table.customers == ("Müller, 7",)
    assert found.table.events.time[0] == utc(2020, 1, 2, 3, 4, 5)


def test_a_parquet_with_zones_decimals_and_numbers_for_ids(tmp_path: Path) -> None:
    ts = pl.Series([datetime(2020, 1, 1, 5, tzinfo=UTC)] * 2).dt.convert_time_zone("Asia/Shanghai")
    found = _parquet(tmp_path, customer_id=[7.0, None], ts=ts, amount=[Decimal("1.5"), None])
    assert found.table.customers == ("7",)
    assert found.table.events.time[0] == utc(2020, 1, 1, 5)
    assert found.table.events.amount[0] == 1.5


def test_dates_and_dates_as_numbers(tmp_path: Path) -> None:
    for ts in (pl.Series([date(2020, 1, 1)]), pl.Series([20200101])):
        assert _parquet(tmp_path, customer_id=[1], ts=ts).table.events.time[0] == utc(2020, 1, 1)


def test_an_id_counts_once_a_customer(tmp_path: Path) -> None:
    found = _csv(tmp_path, HEAD + "1,a,2020-01-01,purchase,1\n1,a,2020-01-01,purchase,1\n"
                 "1,b,2020-01-01,purchase,1\n")  # fmt: skip
    assert found.read.repeated == 1
    assert len(found.table.events) == 2
    assert found.read.notes()["repeated"] == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HEAD + "1,a,in March,purchase,3\n", "ts: row 1: 'in March' is not a time"),
        (HEAD + "1,a,,purchase,3\n", "ts: row 1: there is none"),
        (HEAD + "1,a,2020-01-01,purchase,x\n", "amount: row 1: 'x' is not a number"),
        (HEAD + "1,a,2020-01-01,view,1\n", "event_type: no row is a purchase: view"),
        (HEAD + "1,a,2020-01-01,,1\n", "event_type: row 1 has none"),
        (HEAD, "event_type: no row is a purchase: no rows"),
        ("a,b\n1,2\n", "customer_id: column missing in events.csv; it has a, b"),
        ("", "events: events.csv cannot be read"),
    ],
)
def test_what_has_no_meaning_is_named(tmp_path: Path, text: str, shown: str) -> None:
    with pytest.raises(Invalid) as caught:
        _csv(tmp_path, text)
    assert shown in str(caught.value)


def test_what_is_no_event_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="there is no file"):
        read(tmp_path / "none.csv")
    with pytest.raises(Invalid, match=r"broken\.parquet cannot be read"):
        _csv(tmp_path, "nonsense", "broken.parquet")
    with pytest.raises(Invalid, match="ts: is a column of Boolean"):
        _parquet(tmp_path, customer_id=[1], ts=[True])
