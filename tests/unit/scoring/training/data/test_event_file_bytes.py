"""Encodings, delimiters, compression: decoded as intended, or refused."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.event_files.options import ReadOptions
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.event_files import HEAD, both, same, utc, written

_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰"
CHINESE = [surname + given for surname in _SURNAMES for given in _GIVEN]
"""The names of 400 customers."""
WESTERN = ["Müller", "José", "Françoise", "Nuñez", "Weiß", "Søren", "Zoë", "Ångström"]


def _of(names: list[str]) -> str:
    rows = "".join(f"e{n},{name},2024-01-01,purchase,{n}\n" for n, name in enumerate(names))
    return HEAD + rows


@pytest.mark.parametrize(
    ("codec", "found"),
    [
        ("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"), ("gbk", "gb18030"),
        ("gb18030", "gb18030"), ("gb2312", "gb18030"),
    ],
)  # fmt: skip
def test_chinese_customers_stay_as_many_as_they_are(tmp_path: Path, codec: str, found: str) -> None:
    read = both(written(tmp_path, _of(CHINESE).encode(codec)))
    assert read.table.customers == tuple(sorted(CHINESE))
    assert read.read.encoding == found


def test_a_chinese_header_in_gbk(tmp_path: Path) -> None:
    text = "会员号,下单时间,实付金额（元）,备注\n0001,2024年3月5日 14:30,￥12.50,谢谢！\n"
    found = both(written(tmp_path, text.encode("gbk")))
    assert found.table.events.time[0] == utc(2024, 3, 5, 14, 30)
    assert found.read.currency == "¥"


@pytest.mark.parametrize("sign", ["¥", "£"])
def test_a_sign_of_money_that_gbk_lacks_says_nothing_against_chinese(
    tmp_path: Path, sign: str
) -> None:
    rows = "".join(f"{n:04},2024/3/{n % 28 + 1},{sign}{n}.50\n" for n in range(50))
    found = both(written(tmp_path, ("会员号,下单时间,实付金额\n" + rows).encode("gb18030")))
    assert (found.read.encoding, found.read.currency) == ("gb18030", sign)


@pytest.mark.parametrize("codec", ["latin-1", "cp1252"])
def test_western_text_is_the_last_resort(tmp_path: Path, codec: str) -> None:
    found = both(written(tmp_path, _of(WESTERN).encode(codec)))
    assert found.table.customers == tuple(sorted(WESTERN))
    assert found.read.encoding == "cp1252"


@pytest.mark.parametrize(
    "data",
    [
        _of(["Иванов", "Смирнова", "Кузнецов"]).encode("cp1251"),
        _of(["山田さん", "鈴木さん", "高橋さん"]).encode("shift-jis"),
        _of(["陳大文", "黃小明", "張偉強"]).encode("big5"),
        _of(CHINESE).encode() + "e,Müller,2024-01-01,purchase,1\n".encode("latin-1"),
    ],
)
def test_what_cannot_be_decoded_for_sure_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Invalid, match=r"encoding: events\.csv is not UTF-8"):
        both(written(tmp_path, data))


def test_an_encoding_given_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path, _of(["Иванов"]).encode("cp1251"))
    assert both(path, ReadOptions(encoding="cp1251")).table.customers == ("Иванов",)
    with pytest.raises(Invalid, match=r"events\.csv is not utf-8"):
        both(path, ReadOptions(encoding="utf-8"))
    with pytest.raises(Invalid, match="'klingon' is no encoding"):
        both(path, ReadOptions(encoding="klingon"))


def test_delimiters_packing_and_names_of_files_make_no_difference(tmp_path: Path) -> None:
    plain = both(written(tmp_path, _of(WESTERN)))
    for delimiter in ";\t|":
        text = _of(WESTERN).replace(",", delimiter)
        for name in ("e.csv", "e.tsv", "e.txt", "e.csv.gz", "E.CSV"):
            found = both(written(tmp_path, text, name))
            same(found.table, plain.table)
            assert found.read.delimiter == delimiter
    frame = pl.read_csv(_of(WESTERN).encode())
    for name in ("e.parquet", "e.pq"):
        frame.write_parquet(tmp_path / name)
        same(both(tmp_path / name).table, plain.table)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nCustomer;Date;Total\n\"M; N\";2024-01-01;\"1,50\"\n",
        "Customer;Date;Total\r\n\"M; N\";2024-01-01;1,50\r\n\r\n",
        "Customer;Date;Total\r\"M; N\";2024-01-01;1,50\r",
        "\ufeff\"Customer\";\"Date\";\"Total\";\"Note\"\n"
        "\"M; N\";2024-01-01;1,50;\"two\nlines; \"\"x\"\"\"",
        "Customer;Date;Total\nM; N;2024-01-01;1,50\n".replace("M; N", '"M; N"'),
    ],
)  # fmt: skip
def test_lines_and_quotes_as_programs_write_them(tmp_path: Path, text: str) -> None:
    found = both(written(tmp_path, text))
    assert found.table.customers == ("M; N",)
    assert found.table.events.amount[0] == 1.5


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'customer,ts\n"a,2024-01-01\nb,2024-01-01\n', "a quotation mark is never closed"),
        (b"customer,ts\na,2024-01-01,1,50\n", "row 1 has 4 fields, the header 2"),
        (b"customer,ts,note\na,2024-01-01\n", "row 1 has 2 fields, the header 3 (is it cut off"),
        (b'customer,ts,note\n"a,b",2024-01-01,\n\n,,\nb,2024-01-01\n', "row 4 has 2 fields"),
        (b"customer,ts\na\x00b,2024-01-01\n" * 3, "it has zero bytes"),
        (b"PK\x03\x04\x14\x00\x06\x00\nfoo,bar\n", "File is not a zip file"),
        (b"customer,ts\n" + b"a,2024-01-01\n" * 400 + b"a\x00,2024-01-01\n", "it has zero bytes"),
        (b"", "events.csv cannot be read: it is empty"),
        (b"\n\n", "has no header: its first row is blank"),
        (b" , ,\n1,2,3\n", "has no header: its first row is blank"),
    ],
)
def test_what_is_no_text_table_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        both(written(tmp_path, data))
    assert said in str(caught.value)


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(_of(WESTERN).encode())[:-12])
    with pytest.raises(Invalid, match=r"events\.csv\.gz cannot be read"):
        both(path)


ORDER = (
    "order_id,customer,date,sku,amount\n"
    "o1,a,2024-01-02 10:00,x,10\no1,a,2024-01-02 09:00,y,15\no1,a,2024-01-02 10:00,x,10\n"
    "o2,a,2024-02-01,x,5\no3,b,2024-02-01,x,\no3,b,2024-02-01,y,\no4,b,2024-02-02,x,7\n"
    "o4,b,2024-02-02,y,-9\n"
)


def test_one_id_with_other_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"event_id: rows 1 and 2 are both 'o1' and differ.*--lines"):
        both(written(tmp_path, ORDER))


def test_lines_of_one_order_are_added(tmp_path: Path) -> None:
    found = both(written(tmp_path, ORDER), ReadOptions(lines_of_one_order=True))
    np.testing.assert_array_equal(found.table.events.amount, [25.0, 5.0, np.nan, 2.0])
    assert found.table.events.time[0] == utc(2024, 1, 2, 9)
    assert (found.read.repeated, found.read.joined, found.read.events) == (1, 3, 4)
    assert found.read.assumed == ["negative_is_refund", "times_are_utc"]


def test_rows_that_differ_only_in_an_unused_column_differ(tmp_path: Path) -> None:
    """Two articles at one price are two rows, not one repeated."""
    head = "order_id,customer,date,sku,amount\n"
    path = written(tmp_path, head + "o1,a,2024-01-02,x,10\no1,a,2024-01-02,y,10\n")
    with pytest.raises(Invalid, match="rows 1 and 2"):
        both(path)
    assert both(path, ReadOptions(lines_of_one_order=True)).table.events.amount[0] == 20.0
