"""Times and amounts as people write them: read correctly, or refused with rows and remedy."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.event_files.amounts import Style, numbers
from shared.event_files.faults import FirstFault
from shared.event_files.options import ReadOptions
from shared.event_files.times import Order, Reading, instants
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.event_files import both, utc, written


def _times(*texts: object, order: str | None = None, now: datetime | None = None) -> list[float]:
    given = pl.Series(texts)
    row = pl.Series(range(1, len(texts) + 1))
    seen = Order()
    seen.see(given, row)
    reading = Reading(seen.decided(order), now)  # type: ignore[arg-type]
    found = instants(given, row, reading, FirstFault())
    return [at.replace(tzinfo=UTC).timestamp() for at in found]


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-05T14:30:00Z", "2024-03-05T14:30:00+00:00", "2024-03-05T22:30:00+08:00",
        "2024-03-05T22:30:00+0800", "2024-03-05 22:30:00 +08", "2024-03-05 09:30-05:00",
        "2024-03-05 14:30:00", "2024-03-05 14:30", "2024/3/5 14:30:00", "2024.03.05 14:30",
        "2024年3月5日 14:30", "2024年03月05日14:30:00", "2024年3月5日 下午2:30",
        "2024年3月5日 14时30分",
        "2024-03-05 2:30 PM", "2024-03-05 02:30:00 p.m.", "5 Mar 2024 14:30",
        "05-Mar-2024 14:30:00",
        "March 5, 2024 2:30 PM", "Tue, 5 Mar 2024 14:30:00 GMT", "20240305143000", "202403051430",
        "1709649000", "1709649000.0", "1709649000000", "1709649000000000", "1709649000000000000",
        "2024-03-05 14:30:00 UTC", " 2024-03-05T14:30:00.000 ", "2024-03-05 14:30:00,000",
    ],
)  # fmt: skip
def test_one_instant_in_many_styles(text: str) -> None:
    assert _times(text) == [utc(2024, 3, 5, 14, 30)]


_CLOCKS = st.sampled_from(["%H:%M:%S", "%H:%M", "%I:%M %p", "%I:%M:%S %p", "%H:%M:%S.250"])
_DATES = st.sampled_from(["%Y-%m-%d ", "%Y-%m-%dT", "%Y/%m/%d ", "%d %b %Y ", "%Y年%m月%d日"])
_ZONES = st.sampled_from(["Z", " UTC", "+08:00", " +08:00", "-05:30", "+0800", " +08", "+00:00"])


@given(st.datetimes(datetime(1990, 1, 2), datetime(2100, 12, 30)), _DATES, _CLOCKS, _ZONES)  # noqa: DTZ001
def test_a_zone_is_missed_where_there_is_none(
    at: datetime, date: str, clock: str, zone: str
) -> None:
    text = at.strftime(date + clock)
    for written_, without in ((text, True), (text + zone, False)):
        seen = Order()
        seen.see(pl.Series([written_]), pl.Series([1]))
        assert seen.without_zone is without


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2098, 12, 31)),  # noqa: DTZ001
    st.timedeltas(timedelta(days=-400), timedelta(days=400)),
    st.sampled_from(["%Y-%m-%d %H:%M:%SZ", "%Y/%m/%d %H:%M:%S", "%Y%m%d%H%M%S", "epoch"]),
)
def test_what_is_still_to_come_is_no_event(now: datetime, ahead: timedelta, style: str) -> None:
    """One day of tolerance is allowed, since a time without a zone may be local."""
    now = now.replace(tzinfo=UTC)
    at = max((now + ahead).replace(microsecond=0), datetime(1990, 1, 1, tzinfo=UTC))
    text = str(int(at.timestamp()) * 1_000) if style == "epoch" else at.strftime(style)
    if at <= now + timedelta(days=1):
        assert _times("1999-12-31", text, now=max(now, datetime(2000, 1, 1, tzinfo=UTC)))
        return
    with pytest.raises(Invalid, match=r"^ts: row 2: .* is still to come \(now it is "):
        _times("1990-01-01", text, now=now)


def test_epoch_numbers_in_any_unit() -> None:
    second = utc(2024, 3, 5)
    for unit in (1, 1_000, 1_000_000, 1_000_000_000):
        assert _times(int(second) * unit) == [second]
        assert _times(float(second) * unit) == [second]
    assert _times("1709596800.25") == [second + 0.25]


@pytest.mark.parametrize(
    ("texts", "order", "day"),
    [
        (["03/04/2024", "13/04/2024"], None, (3, 4)),
        (["03/04/2024", "04/13/2024"], None, (4, 3)),
        (["3-4-2024", "31-12-2024"], None, (3, 4)),
        (["03.04.2024 10:00", "13.04.2024 10:00"], None, (3, 4)),
        (["03/04/2024"], "day", (3, 4)),
        (["03/04/2024"], "month", (4, 3)),
        (["04/04/2024"], None, (4, 4)),
    ],
)
def test_the_whole_column_decides_what_comes_first(
    texts: list[str], order: str | None, day: tuple[int, int]
) -> None:
    at = datetime.fromtimestamp(_times(*texts, order=order)[0], UTC)
    assert (at.day, at.month) == day


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["03/04/2024"], "row 1: '03/04/2024' may begin with the day or the month"),
        (
            ["01/02/2024", "13/04/2024", "04/13/2024"],
            "in row 2 the day comes first, in row 3 the month",
        ),
        (["05/03/24"], "row 1: '05/03/24' has a year of two digits"),
        (["45356"], "row 1: '45356' looks like a day number of Excel"),
        (["45356.604166"], "looks like a day number of Excel"),
        (["2024-01-01", "1989-12-31"], "row 2: '1989-12-31' lies outside the years 1990 to 2100"),
        (["2101-01-01"], "outside the years"),
        (["12345678"], "row 1: '12345678' is no time of the years"),
        (["631151999"], "is no time of the years"),
        (["-5"], "is no time of the years"),
        (["2024-02-30"], "row 1: '2024-02-30' is not a time"),
        (["2023-02-29"], "is not a time"),
        (["2024-13-01"], "is not a time"),
        (["2024-01-01 25:00"], "is not a time"),
        (["2024-01-01 10:60"], "is not a time"),
        (["2024-01-01T10:00:00+25:00"], "is not a time"),
        (["yesterday"], "row 1: 'yesterday' is not a time"),
        (["2024-01-01", None], "row 2: there is none"),
        ([946684799.0 / 1e3], "is no time of the years"),
        ([5], "row 1: '5' is no time of the years"),
    ],
)
def test_what_is_no_clear_time_is_refused(texts: list[object], shown: str) -> None:
    with pytest.raises(Invalid) as caught:
        _times(*texts)
    assert shown in str(caught.value)
    assert caught.value.field == "ts"


def test_an_order_given_by_hand_is_held_to(tmp_path: Path) -> None:
    path = written(tmp_path, "customer,ts\na,03/04/2024\na,13/04/2024\n")
    with pytest.raises(Invalid, match="row 2: '13/04/2024' is not a time"):
        both(path, ReadOptions(date_order="month"))
    assert both(path).read.date_order == "day"


def _amounts(*texts: object, decimal: str | None = None) -> list[float | None]:
    given = pl.Series(texts)
    row = pl.Series(range(1, len(texts) + 1))
    seen = Style()
    seen.see(given, row)
    mark = seen.decided(decimal)  # type: ignore[arg-type]
    return numbers(given, row, mark, "amount", FirstFault()).to_list()


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1,234.56", 1234.56), ("1.234,56", 1234.56), ("1 234,56", 1234.56), ("1234,5", 1234.5),
        ("1\u00a0234.50", 1234.5), ("1\u202f234,50", 1234.5), ("1'234.50", 1234.5),
        ("1,234,567", 1234567.0), ("1.234.567", 1234567.0), ("12,345,678.9", 12345678.9),
        ("¥12.00", 12.0), ("￥1,234.00", 1234.0), ("12.50 €", 12.5), ("$ 12.50", 12.5),
        ("-$12.50", -12.5), ("$-12.50", -12.5), ("£12.5", 12.5), ("CNY 12.00", 12.0),
        ("12.00元", 12.0), ("USD12.00", 12.0), ("(12.00)", -12.0), ("($1,234.50)", -1234.5),
        ("12.00-", -12.0), ("−12.00", -12.0), ("+12.00", 12.0), ("0.125", 0.125), (".50", 0.5),
        ("1234.567", 1234.567), ("1.5e3", 1500.0), ("17", 17.0), ("0", 0.0), ("12,50", 12.5),
        (12, 12.0), (1.234, 1.234), (float("inf"), None), (None, None),
    ],
)  # fmt: skip
def test_one_amount_in_many_styles(text: object, amount: float | None) -> None:
    assert _amounts(text) == [amount]


@pytest.mark.parametrize(
    ("texts", "amounts"),
    [
        (["1,234", "5.50"], [1234.0, 5.5]),
        (["1,234", "5,50"], [1.234, 5.5]),
        (["1.234", "5,50"], [1234.0, 5.5]),
        (["1.234", "5.5"], [1.234, 5.5]),
        (["1.234", "1.234.567"], [1234.0, 1234567.0]),
        (["950", "1 234"], [950.0, 1234.0]),
    ],
)
def test_the_whole_column_decides_the_decimal_mark(texts: list[str], amounts: list[float]) -> None:
    assert _amounts(*texts) == amounts


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["1,50", "1.50"], "row 2 has '1.50', row 1 '1,50': the decimal mark must be one"),
        (["1,234.5", "1.234,5"], "row 1 has '1,234.5', row 2 '1.234,5'"),
        (["950", "1,234"], "row 2: '1,234' may have decimals or thousands"),
        (["1.234"], "say --decimal dot or --decimal comma"),
        (["€1.50", "$1.50"], "row 1 has '€1.50', row 2 '$1.50': one currency is expected"),
        (["1.50", "abc"], "row 2: 'abc' is not a number"),
        (["1.50", "9" * 400], "9'… is not a number"),
        (["1.50", "$" + "9" * 400], "row 2: '$999"),
        (["1.2.3"], "is not a number"),
        (["12%"], "is not a number"),
        (["1,23,4"], "is not a number"),
    ],
)
def test_what_is_no_clear_amount_is_refused(texts: list[str], shown: str) -> None:
    with pytest.raises(Invalid) as caught:
        _amounts(*texts)
    assert shown in str(caught.value)
    assert caught.value.field == "amount"


def test_a_decimal_mark_given_by_hand_is_held_to() -> None:
    assert _amounts("1.234", decimal="comma") == [1234.0]
    assert _amounts("1.234", decimal="dot") == [1.234]
    with pytest.raises(Invalid, match=r"row 1: '1\.5' is not a number"):
        _amounts("1.5", decimal="comma")


_INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 12, 31, 23, 59, 59))  # noqa: DTZ001
_TIME_STYLES = st.sampled_from(
    [
        "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M:%S",
        "%Y年%m月%d日 %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p",
        "%m-%d-%Y %H:%M:%S", "%d %b %Y %H:%M:%S", "%B %d, %Y %H:%M:%S", "%Y%m%d%H%M%S", "epoch",
    ]
)  # fmt: skip


def _money(cents: int, style: str) -> str:
    text = f"{abs(cents) / 100:,.2f}"
    if "," in style:
        text = text.translate(str.maketrans(",.", ".,"))
    if "space" in style:
        text = text.replace("." if "," in style else ",", "\u00a0")
    sign = cents < 0
    if "(" in style:
        return f"({text})" if sign else text
    if "after" in style:
        return text + ("-" if sign else "")
    return ("-" if sign else "") + ("€" if "€" in style else "") + text


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("αβ客a7"), _INSTANTS, st.integers(-10**9, 10**9)),
        min_size=1, max_size=12,
    ),
    time_style=_TIME_STYLES,
    money=st.sampled_from([".", ",", ". space", ", space", ".(", ",(", ". after", ",€", ".€"]),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
)  # fmt: skip
def test_a_history_written_in_any_style_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, datetime, int]],
    time_style: str,
    money: str,
    delimiter: str,
    encoding: str,
) -> None:
    rows = [(who, at.replace(microsecond=0), cents) for who, at, cents in rows]
    rows[0] = (*rows[0][:2], abs(rows[0][2]))

    def when(at: datetime) -> str:
        seconds = at.replace(tzinfo=UTC).timestamp()
        return str(int(seconds) * 1_000) if time_style == "epoch" else at.strftime(time_style)

    text = "".join(
        f'"{who}"{delimiter}"{when(at)}"{delimiter}"{_money(cents, money)}"\n'
        for who, at, cents in rows
    )
    head = delimiter.join(("Customer", "Date", "Total"))
    path = tmp_path_factory.mktemp("styles") / "orders.csv"
    path.write_bytes(f"{head}\n{text}".encode(encoding))
    order = "month" if time_style.startswith("%m") else "day"
    found = both(path, ReadOptions(date_order=order))  # type: ignore[arg-type]
    events = found.table.events
    got = sorted(
        zip((found.table.customers[n] for n in events.row), events.time, events.amount, strict=True)
    )
    wanted = sorted((who, at.replace(tzinfo=UTC).timestamp(), abs(c) / 100) for who, at, c in rows)
    assert [g[:2] for g in got] == [w[:2] for w in wanted]
    np.testing.assert_allclose([g[2] for g in got], [w[2] for w in wanted], rtol=0, atol=1e-6)
