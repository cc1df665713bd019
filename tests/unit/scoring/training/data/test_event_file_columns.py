"""Columns and event types by the names that people use."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from services.scoring.core.features.events import Kind
from shared.event_files.headers import (
    ROLES,
    STRONG,
    WEAK,
    plain,
)
from shared.event_files.options import ReadOptions
from shared.event_files.words import MEANINGS
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.event_files import HEAD, both, utc, written


@pytest.mark.parametrize(
    "header",
    [
        "customer_id,ts,amount", "Customer ID,Order Date,Total",
        "CustomerID,InvoiceDate,sales_value",
        "CLIENT,Timestamp,Revenue", "user-id,created_at,net", "Member,date,Price",
        "buyer,time,VALUE",
        "account,DateTime,sales", "household_id,transaction_timestamp,Total Amount",
        "客户,日期,金额", "客户编号,下单时间,实付金额（元）",
        "会员号,订单时间,销售额", "会员ID,时间,总价",
        "Kunde,Datum,Betrag", "Kundennummer,Bestelldatum,Gesamtbetrag (EUR)",
        "KUNDEN-NR.,Rechnungsdatum,Umsatz", "Mitglieds_ID,gekauft am,Preis",
        " Customer.No ,Order-Date,Order Value (EUR)",
    ],
)  # fmt: skip
def test_columns_by_synonyms(tmp_path: Path, header: str) -> None:
    found = both(written(tmp_path, f"{header}\n7,2024-03-05,12.5\n"))
    assert found.table.customers == ("7",)
    assert found.table.events.time[0] == utc(2024, 3, 5)
    assert found.table.events.amount[0] == 12.5
    assert found.read.columns == dict(
        zip(("customer_id", "ts", "amount"), (h.strip() for h in header.split(",")), strict=True)
    )
    assert found.read.assumed == ["all_purchases", "rows_are_events"]


def test_every_synonym_stands_once_for_one_column() -> None:
    """The exception is `price`, which is a unit price beside a quantity."""
    seen: dict[str, str] = {}
    for table in (STRONG, WEAK):
        for role, words in table.items():
            for word in map(plain, words.split()):
                assert seen.setdefault(word, role) == role or word in {"price", "价格", "preis"}
    assert set(STRONG) == set(ROLES)


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("client,buyer,ts", "customer_id: 'client' and 'buyer' could both be it"),
        ("customer_id,order date,created_at", '--column ts="order date"'),
        ("Customer ID,customer_id,ts", "'Customer ID' and 'customer_id'"),
        ("customer,ts,total,revenue", "amount: 'total' and 'revenue'"),
        ("customer,ts,ts", "two columns 'ts'"),
        ("customer,when_it_was", "ts: column missing in events.csv; it has customer, when_it_was"),
        ("2024-01-01,17", "customer_id: column missing"),
    ],
)
def test_what_could_be_two_columns_or_none_is_named(
    tmp_path: Path, header: str, shown: str
) -> None:
    with pytest.raises(Invalid) as caught:
        both(written(tmp_path, header + "\n" + "1,2024-01-01,1,1\n"[: header.count(",") * 2 + 1]))
    assert shown in str(caught.value)


def test_the_own_name_wins_over_a_synonym(tmp_path: Path) -> None:
    found = both(written(tmp_path, "customer_id,client,ts,date,amount,price\n"
                         "a,x,2024-01-02,2024-01-01,3,9\n"))  # fmt: skip
    assert found.table.customers == ("a",)
    assert found.table.events.amount[0] == 3.0
    assert found.read.unused == ["client", "date", "price"]


def test_columns_named_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path, "Kunde;Bestelldatum;created_at;Betrag\n7;2024-03-05;2020-01-01;1,50\n")
    given = {"customer_id": "Kunde", "ts": "bestelldatum", "amount": "Betrag"}
    found = both(path, ReadOptions(columns=given))
    assert found.read.columns == {"customer_id": "Kunde", "ts": "Bestelldatum", "amount": "Betrag"}
    assert found.table.events.amount[0] == 1.5
    with pytest.raises(Invalid, match="'cents' is none of customer_id"):
        both(path, ReadOptions(columns={"cents": "Betrag"}))
    with pytest.raises(Invalid, match="ts=Datum: the file has Kunde, Bestelldatum"):
        both(path, ReadOptions(columns={"ts": "Datum"}))


def test_a_german_export_needs_no_option(tmp_path: Path) -> None:
    """Semicolons, decimal commas, dates with dots; a letter and its mark may be two characters."""
    text = (
        "Bestellnummer;Kundennr.;Datum;Vorgangsart;Menge;Einzelpreis;Wa\u0308hrung;Warengruppe;"
        "Artikel\n"
        "B-1;007;15.03.2024 08:26;Bestellung;3;2,50;EUR;Tee;Assam\n"
        "B-2;007;02.04.2024 10:00;Retoure;1;2,50;EUR;Tee;Assam\n"
        "B-3;008;03.04.2024 10:00;Reklamation;;;;;\n"
    )
    found = both(written(tmp_path, text))
    assert found.read.columns == {
        "event_id": "Bestellnummer", "customer_id": "Kundennr.", "ts": "Datum",
        "event_type": "Vorgangsart", "quantity": "Menge", "unit_price": "Einzelpreis",
        "currency": "Wa\u0308hrung", "category": "Warengruppe",
    }  # fmt: skip
    assert found.read.unused == ["Artikel"]
    events = found.table.events
    assert events.kind.tolist() == [Kind.PURCHASE, Kind.REFUND, Kind.COMPLAINT_OPENED]
    np.testing.assert_array_equal(events.amount, [7.5, 2.5, np.nan])
    assert events.time[0] == utc(2024, 3, 15, 8, 26)


def test_two_german_columns_of_one_meaning_are_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="'Nettobetrag' and 'Bruttobetrag' could both be it"):
        both(written(tmp_path, "Kunde,Datum,Nettobetrag,Bruttobetrag\n7,2024-03-05,1,2\n"))


@pytest.mark.parametrize("price", ["UnitPrice", "price", "Unit Price", "单价"])
def test_quantity_times_unit_price(tmp_path: Path, price: str) -> None:
    head = f"Invoice,Customer ID,InvoiceDate,Quantity,{price}\n"
    text = f"{head}1,a,2024-01-01,3,2.50\n2,a,2024-02-01,-1,2.50\n"
    found = both(written(tmp_path, text))
    np.testing.assert_array_equal(found.table.events.amount, [7.5, 2.5])
    np.testing.assert_array_equal(found.table.events.kind, [Kind.PURCHASE, Kind.REFUND])
    assert found.read.assumed == ["negative_is_refund", "amount_is_quantity_times_price"]


def test_a_price_beside_an_amount_is_not_multiplied(tmp_path: Path) -> None:
    found = both(written(tmp_path, "customer,ts,quantity,price,total\na,2024-01-01,3,2.5,7\n"))
    assert found.table.events.amount[0] == 7.0


def test_event_types_by_the_words_people_use(tmp_path: Path) -> None:
    words = {
        Kind.PURCHASE: "Order,SALE,buy,transaction,购买,订单,purchase",
        Kind.REFUND: "Return,refund,Cancelled,cancellation,退款,退货",
        Kind.COMPLAINT_OPENED: "Complaint,complaint_opened,投诉",
        Kind.COMPLAINT_CLOSED: "Complaint Resolved,投诉已解决",
        Kind.SURVEY: "survey,CSAT,满意度",
        Kind.RECOMMENDATION: "NPS",
        Kind.CAMPAIGN_RECEIVED: "mailing,campaign-received",
        Kind.CAMPAIGN_REDEEMED: "coupon redeemed",
        Kind.CONTRACT_ACTIVATED: "contract_activated,续约",
        Kind.CONTRACT_ENDED: "contract_ended,subscription cancelled",
        Kind.INTERACTION: "page_view,来电",
    }
    rows = [(kind, word) for kind, some in words.items() for word in some.split(",")]
    text = "".join(f"e{n},c,2024-01-01 00:{n:02},{word},1\n" for n, (_, word) in enumerate(rows))
    found = both(written(tmp_path, HEAD + text))
    assert [Kind(k) for k in found.table.events.kind] == [kind for kind, _ in rows]


def test_every_word_of_an_event_type_means_one() -> None:
    assert all(MEANINGS[meaning] == meaning for meaning in set(MEANINGS.values()))


def test_a_score_belongs_to_what_was_asked(tmp_path: Path) -> None:
    head = "customer,ts,type,score\na,2024-01-01,order,88\na,2024-01-02,survey,"
    found = both(written(tmp_path, head + "9\na,2024-01-03,survey,\n"))
    np.testing.assert_array_equal(found.table.events.score, [np.nan, 9.0, np.nan])
    with pytest.raises(Invalid, match="score: row 2: 11 is not from 0 to 10"):
        both(written(tmp_path, head + "11\n"))


def test_rows_without_a_customer_are_counted(tmp_path: Path) -> None:
    nobody = ["", "  ", "NULL", "undefined", "[object Object]", "NaN", "\u200b"]
    rows = "".join(f"{name},not even a date,1\n" for name in nobody)
    found = both(written(tmp_path, "customer,ts,amount\na,2024-01-01,1\n" + rows + "\n\n"))
    assert found.read.without_customer == len(nobody)
    assert found.read.rows == len(nobody) + 1
    assert found.table.customers == ("a",)


def test_ids_stay_text(tmp_path: Path) -> None:
    """Customer 007 is not customer 7."""
    found = both(written(tmp_path, "customer,ts\n007,2024-01-01\n7,2024-01-01\n"))
    assert found.table.customers == ("007", "7")


def test_a_file_of_json_lines(tmp_path: Path) -> None:
    text = (
        '{"customer": 7, "ts": "2024-01-01T00:00:00+08:00", "amount": 1.234, "tags": ["a"]}\n'
        '{"ts": 1704067200000, "customer": "b", "note": "two\\nlines"}\n'
    )
    for name in ("events.jsonl", "events.ndjson.gz"):
        found = both(written(tmp_path, text, name))
        assert found.table.customers == ("7", "b")
        np.testing.assert_array_equal(
            found.table.events.time, [utc(2023, 12, 31, 16), utc(2024, 1, 1)]
        )
        assert found.table.events.amount[0] == 1.234
        assert found.read.format == "jsonl"


@pytest.mark.parametrize("line", ["[1, 2]", '{"customer":', "{" + '"a":[' * 100_000, "7"])
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: str) -> None:
    text = '{"customer": "a", "ts": "2024-01-01"}\n\n' + line + "\n"
    with pytest.raises(Invalid, match=r"e\.jsonl cannot be read: line 3 is no JSON object"):
        both(written(tmp_path, text, "e.jsonl"))


def test_a_column_of_no_times_or_numbers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    pl.DataFrame({"customer": ["a"], "ts": ["2024-01-01"], "amount": [[1]]}).write_parquet(path)
    with pytest.raises(Invalid, match="amount: is a column of List"):
        both(path)
    with pytest.raises(Invalid, match="customer_id: is a column of Struct"):
        both(written(tmp_path, '{"customer": {"id": 7}, "ts": "2024-01-01"}\n', "e.jsonl"))


def test_times_without_a_zone_are_said_to_be_utc(tmp_path: Path) -> None:
    for text, naive in (("2024-01-01 10:00", True), ("2024-01-01", False), ("1704067200", False),
                        ("2024-01-01T10:00:00Z", False), ("2024-01-01 10:00:00+0800", False),
                        ("2024年1月1日 10:00", True)):  # fmt: skip
        found = both(written(tmp_path, f"customer,ts\na,{text}\n"))
        assert ("times_are_utc" in found.read.assumed) is naive
    path = tmp_path / "e.parquet"
    at = pl.Series([datetime(2024, 1, 1, 10, tzinfo=UTC)])
    for ts, naive in ((at, False), (at.dt.replace_time_zone(None), True)):
        pl.DataFrame({"customer": ["a"], "ts": ts}).write_parquet(path)
        assert ("times_are_utc" in both(path).read.assumed) is naive


def test_ids_guarded_from_a_sheet(tmp_path: Path) -> None:
    found = both(written(tmp_path, '订单号,会员号,日期\n="0017",="007",2024-01-01\n'))
    assert found.table.customers == ("007",)


def test_the_report_in_sentences(tmp_path: Path) -> None:
    text = "Client;Date;Total;Note\na;13/01/2024;1.234,50 €;x\n;13/01/2024;1,00 €;y\n"
    read = both(written(tmp_path, text)).read
    assert list(read.lines()) == [
        "events.csv: customer_id = Client, ts = Date, amount = Total",
        "not used: Note",
        "utf-8, delimiter ';', the day comes first in dates, decimal comma, amounts in €",
        "no column of event types: every row is a purchase",
        "no column of event ids: every row is an event of its own",
        "1 of 2 rows left out: no customer",
    ]
    assert (read.first, read.last) == ("2024-01-13T00:00:00Z", "2024-01-13T00:00:00Z")
