"""A file of a loyalty programme: points, balances, last days, levels and referrals."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from services.ingest.core.file_events import file_events
from services.ingest.core.rates import RateTable
from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.core.features.events import Kind
from shared.event_files.headers import POINTS
from shared.event_files.options import ReadOptions
from shared.event_files.reader import EventFile
from shared.kernel.errors import Invalid
from shared.kernel.zones import zone
from tests.unit.ingest.events import accept
from tests.unit.scoring.training.event_files import both, utc, written

HEAD = "会员号,日期,类型,积分,积分余额,到期日\n"
LEDGER = HEAD + (
    "c-1,2024-11-02,积分获得,300,1500,\n"
    "c-1,2024-11-20,积分即将到期,1200,1500,2024-12-31\n"
    "c-1,2024-11-25,积分兑换,-100,1400,2024-12-31\n"
    "c-1,2024-11-26,会员降级,,,\n"
    "c-1,2024-11-27,老带新,,,\n"
    "c-1,2024-11-28,购买,7,7,2024-12-01\n"
)
RATES = RateTable.parse("USD", "currency,from,rate\n")
NOW = datetime(2025, 1, 1, tzinfo=UTC)
NAN = float("nan")


@pytest.mark.parametrize("name", [None, "Asia/Shanghai"])
def test_a_ledger_with_chinese_headers(tmp_path: Path, name: str | None) -> None:
    """Points spent lose their sign, and a last day is that day whatever the zone of the times."""
    options = ReadOptions(zone=None if name is None else zone(name))
    events = both(written(tmp_path, LEDGER), options).table.events
    assert events.kind.tolist() == [
        Kind.POINTS_EARNED, Kind.POINTS_EXPIRING, Kind.POINTS_SPENT, Kind.LEVEL_LOWERED,
        Kind.REFERRAL, Kind.PURCHASE,
    ]  # fmt: skip
    np.testing.assert_array_equal(events.amount, [300, 1_200, 100, NAN, NAN, NAN])
    np.testing.assert_array_equal(events.cost, [1_500, 1_500, 1_400, NAN, NAN, NAN])
    assert events.until[1] == utc(2025, 1, 1)


def test_an_import_sends_what_training_reads(tmp_path: Path) -> None:
    """The events of the import, accepted and decoded, are the columns of the file."""
    file = EventFile(written(tmp_path, LEDGER))
    sent = [e for frame in file.frames() for e in file_events(frame, "files", None, RATES, NOW)]
    read = [accept(e.value, (), int(NOW.timestamp() * 1_000), RATES) for e in sent]
    found = columns_of(read, [kind_of(e) for e in read], [0] * len(read))
    direct = both(tmp_path / "events.csv").table.events
    for name in ("kind", "time", "amount", "cost"):
        np.testing.assert_array_equal(getattr(found, name), getattr(direct, name), err_msg=name)
    reports = found.kind == Kind.POINTS_EXPIRING
    np.testing.assert_array_equal(found.until[reports], direct.until[reports])
    assert np.isnan(found.until[~reports]).all()


def test_columns_of_these_names_do_not_disturb_a_file_of_orders(tmp_path: Path) -> None:
    """They are not read on other rows, and not at all without a column of event types."""
    orders = written(
        tmp_path, "customer,date,type,total,points,expires\nc,2024-01-02,sale,5,n/k,never\n"
    )
    assert both(orders).table.events.amount.tolist() == [5.0]
    plain = written(tmp_path, "customer,date,total,points,expires\nc,2024-01-02,5,n/k,never\n")
    found = both(plain)
    assert found.table.events.amount.tolist() == [5.0]
    assert not set(POINTS) & set(found.read.columns)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c,2024-11-02,积分获得,many,,", "points: row 1: 'many' is not a number"),
        ("c,2024-11-02,积分获得,5,x,", "points_balance: row 1: 'x' is not a number"),
        ("c,2024-11-02,积分即将到期,5,,never", "points_expire_on: row 1: 'never'"),
        ("c,2024-11-02,积分即将到期,5,,03/04/2024", "points_expire_on: row 1"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        both(written(tmp_path, f"{HEAD}{row}\n"))
    assert str(refused.value).startswith(said)


def test_a_spreadsheet_column_of_dates_and_numbers(tmp_path: Path) -> None:
    """Typed columns are taken as they are."""
    path = tmp_path / "points.parquet"
    pl.DataFrame({
        "member": ["c"], "date": [datetime(2024, 11, 1)], "type": ["points_expiring"],  # noqa: DTZ001
        "points": [80], "expires_on": [datetime(2024, 12, 31).date()],  # noqa: DTZ001
    }).write_parquet(path)  # fmt: skip
    (event,) = file_events(next(EventFile(path).frames()), "files", None, RATES, NOW)
    assert json.loads(event.value)["data"] == {
        "kind": "points_expiring", "points": 80.0, "expires_on": "2024-12-31"
    }  # fmt: skip
