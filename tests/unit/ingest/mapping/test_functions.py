"""The named functions: each value, null, and what they refuse."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.ingest.core.mapping.apply import Context, map_value
from services.ingest.core.mapping.document import compile_mapping
from services.ingest.core.mapping.expression import compile_expression
from services.ingest.core.mapping.functions import FUNCTIONS
from services.ingest.core.mapping.scope import Refused, Scope
from services.ingest.core.rates import RateTable
from tests.unit.ingest.events import ARRIVED_MS

HEADERS = (("X-Shop", b"one.example"), ("bad", b"\xff"), ("none", None), ("nul", b"a\0"))


def _of(expression: str, value: Any = None) -> Any:
    scope = Scope({"whole": True}, ARRIVED_MS, HEADERS, b"key-1")
    return compile_expression(expression)({"v": value}, scope)


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("coalesce(v, 'x')", " ", "x"),
        ("coalesce(v, 'x')", 0, 0),
        ("coalesce(v, 'x')", False, False),
        ("coalesce(v)", None, None),
        ("concat('a-', v, '-', v)", 7, "a-7-7"),
        ("concat('a-', v)", None, None),
        ("text(v)", 7.0, "7"),
        ("lower(v)", "AbÇ", "abç"),
        ("upper(v)", "eur", "EUR"),
        ("trim(v)", " a ", "a"),
        ("lower(v)", None, None),
        ("split(v, ',')", "a, b,,c", ["a", "b", "", "c"]),
        ("split(v, ',')", None, None),
        ("replace(v, ' ', '_')", "a b c", "a_b_c"),
        ("replace(v, '', '_')", "ab", "ab"),
        ("""lookup(v, `{"1": "one"}`, 'none')""", 1, "one"),
        ("""lookup(v, `{"1": "one"}`, 'none')""", 2, "none"),
        ("""lookup(v, `{"1": "one"}`)""", None, None),
        ("decimal(v)", "1,234.50", "1234.50"),
        ("decimal(v)", "$ 1,234", "1234"),
        ("decimal(v)", "1 234.50 kr", "1234.50"),
        ("decimal(v)", "1'234.5", "1234.5"),
        ("decimal(v, ',')", "1.234,50 €", "1234.50"),
        ("decimal(v, ',')", "1\u202f234,5", "1234.5"),
        ("decimal(v)", "￥1,234.50", "1234.50"),
        ("decimal(v)", "-12.5", "-12.5"),
        ("decimal(v)", "12.5-", "-12.5"),
        ("decimal(v)", "(12.50)", "-12.50"),
        ("decimal(v)", "−3", "-3"),
        ("decimal(v)", ".5", "0.5"),
        ("decimal(v)", "", None),
        ("decimal(v)", 12, "12"),
        ("decimal(v)", 0.1, "0.1"),
        ("decimal(v)", 1e-7, "0.0000001"),
        ("minor_units(v, 'eur')", 5, "0.05"),
        ("minor_units(v, 'JPY')", 500, "500"),
        ("minor_units(v, 'BHD')", 1500, "1.500"),
        ("minor_units(v, 'CLF')", 12345, "1.2345"),
        ("minor_units(v, 'XYZ', `3`)", 1500, "1.500"),
        ("""minor_units(v, 'isk', `{"ISK": 2}`)""", 500, "5.00"),
        ("minor_units(v, 'EUR')", "-1999", "-19.99"),
        ("minor_units(v, 'EUR')", None, None),
        ("add(v, '0.2')", 0.1, "0.3"),
        ("add(v, '0.2')", None, "0.2"),
        ("add(v, v)", None, None),
        ("subtract('10.00', v)", 0.5, "9.50"),
        ("subtract('10.00', v)", None, None),
        ("multiply(v, `3`)", "19.99", "59.97"),
        ("total(v)", ["1.10", None, 2], "3.10"),
        ("total(v)", [], None),
        ("total(v)", None, None),
        ("is_positive(v)", "0.01", True),
        ("is_positive(v)", -1, False),
        ("is_positive(v)", None, False),
        ("currency(v)", "chf", "CHF"),
        ("currency(v)", "HK$", "HKD"),
        ("currency(v)", "zł", "PLN"),
        ("currency(v)", "元", "CNY"),
        ("currency(v, 'JPY')", "¥", "JPY"),
        ("currency(v, 'USD')", None, "USD"),
        ("unscaled(v, `2`)", "B9A=", "20.00"),
        ("unscaled(v, '2')", "/w==", "-0.01"),
        ("unscaled(v, `2`)", None, None),
        ("epoch(v)", 1772355600, "2026-03-01T09:00:00+00:00"),
        ("epoch(v, 'ms')", "1772355600001", "2026-03-01T09:00:00.001000+00:00"),
        ("epoch(v, 'us')", 1772355600000001, "2026-03-01T09:00:00.000001+00:00"),
        ("epoch(v, 'ns')", 1772355600000000001, "2026-03-01T09:00:00+00:00"),
        ("epoch(v, 'd')", 20513, "2026-03-01T00:00:00+00:00"),
        ("epoch(v)", -1.5, "1969-12-31T23:59:58.500000+00:00"),
        ("epoch(v)", None, None),
        ("in_zone(v, 'Asia/Shanghai')", "2026-03-01 08:30", "2026-03-01T08:30:00+08:00"),
        ("in_zone(v, 'Asia/Shanghai')", "2026-03-01T08:30Z", "2026-03-01T08:30:00+00:00"),
        ("in_zone(v, 'Europe/Berlin')", "2025-10-26 02:30", "2025-10-26T02:30:00+02:00"),
        ("parse_time(v, '%d.%m.%Y')", "01.03.2026", "2026-03-01T00:00:00+00:00"),
        (
            "parse_time(v, '%d/%m/%y %H:%M', 'America/New_York')",
            "01/03/26 08:30",
            "2026-03-01T08:30:00-05:00",
        ),
        (
            "corrected(v, '2026-03-01T10:00:00Z', '2026-03-01T09:00:00Z')",
            "2026-03-01T09:59:00Z",
            "2026-03-01T08:59:00+00:00",
        ),
        ("corrected(v, `null`, '2026-03-01T09:00:00Z')", "then", "then"),
        ("arrived()", None, "2026-03-01T09:00:00+00:00"),
        ("header('x-shop')", None, "one.example"),
        ("header('none')", None, None),
        ("key()", None, "key-1"),
        ("record().whole", None, True),
    ],
)
def test_values(expression: str, value: Any, expected: Any) -> None:
    assert _of(expression, value) == expected


@pytest.mark.parametrize(
    ("expression", "value", "reason"),
    [
        ("text(v)", 1.5, "neither a text nor a whole number"),
        ("text(v)", True, "true is no text"),
        ("concat('a', v)", {"a": 1}, "an object is neither"),
        ("concat(v, v)", "x" * 3_000, "at most 4,000"),
        ("replace(v, 'x', 'yyyy')", "x" * 3_000, "at most 4,000"),
        ("lookup(v, 'x')", "a", "needs an object"),
        ("decimal(v)", "1.234,50", "no amount with the decimal point '.'"),
        ("decimal(v)", "12,34,567.00", "no amount"),
        ("decimal(v)", "twelve", "no amount"),
        ("decimal(v)", "1" * 100, "100 characters"),
        ("decimal(v)", [], "a number or a text"),
        ("decimal(v, ';')", "1", "'.' or ','"),
        ("minor_units(v, 'EUR')", 19.99, "whole numbers"),
        ("minor_units(v, 'EUR', `99`)", 1, "0 to 9"),
        ("minor_units(v, 'EUR')", 10**60, "more than 40 digits"),
        ("add(v)", "1,5", "convert it with decimal()"),
        ("add(v)", True, "a number or a text"),
        ("multiply(v, v)", "9" * 40 + "e99", "too large"),
        ("total(v)", "12", "needs a list"),
        ("currency(v)", "$", "sign of USD, CAD, AUD"),
        ("currency(v)", "kr", "SEK, NOK and DKK"),
        ("currency(v)", "money", "no currency"),
        ("unscaled(v, `2`)", "?", "not Base64"),
        ("unscaled(v, `-1`)", "B9A=", "scale"),
        ("epoch(v)", 1772355600000, "after the year 3000"),
        ("epoch(v, v)", "x", "no number"),
        ("in_zone(v, 'UTC')", "1.3.2026", "no time in ISO 8601"),
        ("parse_time(v, '%d.%m.%Y')", "2026-03-01", "notation"),
        ("corrected(v, '2026-03-01', '2026-03-01')", "2026-03-01", "no offset"),
        ("header('bad')", None, "not UTF-8"),
        ("header('nul')", None, "NUL"),
        ("digest(v)", float("inf"), None),
    ],
)
def test_refusals(expression: str, value: Any, reason: str | None) -> None:
    """What is there and cannot be used is refused with a reason, not left out."""
    if reason is None:  # accepted: infinity is written as null
        assert len(_of(expression, value)) == 24
        return
    with pytest.raises(Refused, match=re.escape(reason)):
        _of(expression, value)


def test_a_digest_depends_on_each_value() -> None:
    """The same values give the same id; other values, or another order of them, do not."""
    one = _of("digest(v, 'a')", 1)
    assert one == _of("digest(v, 'a')", 1)
    assert len({one, _of("digest(v, 'a')", 2), _of("digest('a', v)", 1), _of("digest(v)", 1)}) == 4


DOCS = Path("docs/mappings.md").read_text("utf-8")


def test_the_documented_mapping_does_what_is_said() -> None:
    """The example of docs/mappings.md, with the amounts and times of its comments."""
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    mapping = compile_mapping(text, "erp.yaml")
    record = {
        "status": "booked",
        "nr": 17,
        "angelegt": "2026-02-28 10:00",
        "kunde": {"nr": 4},
        "summe": "1.234,50 €",
        "waehrung": "€",
        "positionen": [{"artikel": 5, "menge": "2"}],
    }
    rates = RateTable.parse("USD", "currency,from,rate\nEUR,1990-01-01,2\n")
    context = Context(ARRIVED_MS, rates)
    ((event, notes),) = map_value(mapping, json.dumps(record).encode(), context).events
    assert (event.id, event.subject, event.source) == ("order-17", "4", "erp")
    assert event.time.isoformat() == "2026-02-28T09:00:00+00:00"
    assert (event.data.amount, event.data.currency, event.data.items) == (2469.0, "EUR", 1)
    assert notes == ()
    assert map_value(mapping, b'{"status": "draft"}', context).ignored == "draft"


def test_each_function_is_documented() -> None:
    """docs/mappings.md names them all."""
    assert [name for name in FUNCTIONS if f"`{name}(" not in DOCS] == []
