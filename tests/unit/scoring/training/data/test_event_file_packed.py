"""Spreadsheets, packed files and files with another name than content: read, or refused clearly."""

import gzip
import signal
import subprocess
import zipfile
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest

from services.scoring.training.data.event_file import read
from shared.event_files import packing, sheets
from shared.event_files.options import ReadOptions
from shared.event_files.sheets import SheetAsCsv
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.data.workbooks import sheet_xml, xlsx
from tests.unit.scoring.training.event_files import HEAD, both, same, utc, written

ROWS = HEAD + "".join(f"e{n},c{n % 3},2024-01-{n % 28 + 1:02},purchase,{n}\n" for n in range(60))


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_packed_files_are_what_is_in_them(tmp_path: Path) -> None:
    plain = both(written(tmp_path, ROWS))
    packed = [
        zipped(tmp_path / "a.zip", **{"orders.csv": ROWS, "__MACOSX/._orders.csv": "x"}),
        written(tmp_path, pa.compress(ROWS.encode(), "zstd", asbytes=True), "b.csv.zst"),
        written(tmp_path, gzip.compress(ROWS.encode()), "c.csv"),
    ]
    for path in packed:
        same(both(path).table, plain.table)


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({}, "holds 0 files"),
        ({"a.csv": ROWS, "b.csv": ROWS}, "holds 2 files: unpack it and name the files"),
        ({"a.parquet": "PAR1PAR1"}, "is a packed parquet file: unpack it first"),
    ],
)
def test_an_archive_has_one_text_in_it(tmp_path: Path, members: dict[str, str], shown: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(zipped(tmp_path / "orders.zip", **members))
    assert shown in str(caught.value)
    assert "orders.zip" in str(caught.value)


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    text = HEAD + "e,c,2024-01-01,purchase,1\n" * 40_000
    path = written(tmp_path, gzip.compress(text.encode()), "bomb.csv")
    with (
        patch.object(packing, "UNPACKED_FREE_BYTES", 100_000),
        pytest.raises(Invalid, match=r"bomb\.csv unpacks to more than 200 times its size"),
    ):
        read(path)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ('[{"customer": "a"}]', "is one JSON array: write each event on a line"),
        ("<html><table><tr><td>a", "is a web page or XML: open it in a spreadsheet program"),
        ("PK\x03\x04 and no more", "cannot be read"),
        ("", "it is empty"),
        ("customer_id,ts,ts\na,2024-01-01,1\n", "has two columns 'ts': rename one"),
        ("customer_id,ts\n", "no row is a purchase: no rows"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path: Path, content: str, shown: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(written(tmp_path, content, "export.xls"))
    assert shown in str(caught.value)


def test_the_first_line_of_another_encoding_is_named(tmp_path: Path) -> None:
    data = ROWS.encode() + "e,Иванов,2024-01-01,purchase,1\n".encode("cp1251")
    with pytest.raises(Invalid, match=r"line 62 is the first that is not"):
        read(written(tmp_path, data))


def test_json_lines_and_csv_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    line = '{"customer_id": "a", "ts": "2024-01-01", "amount": 2.5}\n'
    assert both(written(tmp_path, line, "orders.csv")).read.format == "jsonl"
    assert both(written(tmp_path, ROWS, "orders.jsonl")).read.format == "csv"


def test_a_sheet_has_typed_dates_numbers_and_texts(tmp_path: Path) -> None:
    path = xlsx(
        tmp_path / "orders.csv",  # the name does not count
        订单=[
            ["会员卡号", "订单号", "下单时间", "金额"],
            ["0017", "A1", datetime(2024, 3, 5, 14, 30), 12.5],  # noqa: DTZ001
            [18, "A2", 45356.5, 1.234],
            ["19", "A3", "2024年3月6日 08:15", 3],
            [None, None, None, None],
        ],
        备注=[],
    )
    found = both(path)
    assert found.read.format == "sheet"
    assert found.table.customers == ("0017", "18", "19")
    assert list(found.table.events.time) == [
        utc(2024, 3, 5, 12), utc(2024, 3, 5, 14, 30), utc(2024, 3, 6, 8, 15)
    ]  # fmt: skip
    assert list(found.table.events.amount) == [1.234, 12.5, 3.0]


def test_a_day_number_in_text_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="looks like a day number of Excel"):
        read(written(tmp_path, "customer_id,ts\na,45356\n"))


def test_of_several_sheets_one_is_named(tmp_path: Path) -> None:
    rows: list[list[str | float | datetime | None]] = [["customer", "date"], ["a", "2024-01-01"]]
    path = xlsx(tmp_path / "book.xlsx", orders=rows, more=rows)
    with pytest.raises(Invalid, match=r"in the sheets 'orders', 'more': choose with --sheet"):
        read(path)
    with pytest.raises(Invalid, match="has no sheet 'x': it has 'orders', 'more'"):
        read(path, ReadOptions(sheet="x"))
    assert both(path, ReadOptions(sheet="more")).read.rows == 1


@pytest.mark.parametrize("content", ["garbage", sheet_xml([]), sheet_xml([["a", "a"]])])
def test_a_broken_or_empty_sheet_is_refused(tmp_path: Path, content: str) -> None:
    good = xlsx(tmp_path / "good.xlsx", a=[["customer"]])
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, content if "sheet1" in name else source.read(name))
    with pytest.raises(Invalid, match=r"book\.xlsx"):
        read(path)


def test_a_sheet_that_claims_all_memory_ends_its_own_process_only(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "sparse.xlsx", a=[["customer", "date"]])
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bomb, "w") as target:
        for name in source.namelist():
            text = source.read(name).decode()
            target.writestr(name, text.replace("</sheetData>", far))
    with (
        patch.object(sheets, "MEMORY_BYTES_MAX", 1 << 30),
        pytest.raises(Invalid, match=r"bomb\.xlsx needs more than 1 GiB of memory"),
    ):
        read(bomb)


def test_ctrl_c_while_a_sheet_is_converted_is_no_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = xlsx(tmp_path / "book.xlsx", a=[["customer", "date"], ["a", "2024-01-01"]])
    ended = subprocess.CompletedProcess([], -signal.SIGINT, b"", b"Traceback\nKeyboardInterrupt\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(KeyboardInterrupt):
        SheetAsCsv(path, None, tmp_path)
