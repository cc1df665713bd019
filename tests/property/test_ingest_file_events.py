"""Laws of events made from files: what is marked ordinary is accepted, and ids do not change."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.core.accept import accepted
from services.ingest.core.file_events import file_events
from services.ingest.core.rates import RateTable
from shared.event_files.repeats import OCCURRENCE
from shared.event_files.sources import ROW
from shared.event_files.words import LOYALTY
from shared.kernel.errors import Invalid

NOW = datetime(2025, 1, 1, tzinfo=UTC)
RATES = RateTable.parse("USD", "currency,from,rate\nEUR,2010-01-01,1.1\n")
ids = st.text(min_size=1, max_size=300) | st.from_regex(
    r"[A-Za-z0-9._:/@#-]{1,130}", fullmatch=True
)
events = st.fixed_dictionaries(
    {
        "customer_id": ids,
        "event_id": ids,
        "event_type": st.sampled_from(
            ["purchase", "refund", "survey", "complaint_opened", "contract_ended", "view", "x y",
             *LOYALTY]
        ) | st.text(max_size=100),
        "ts": st.datetimes(datetime(1985, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
        "amount": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "currency": st.none() | st.sampled_from(["USD", "EUR", "GBP", "usd", ""]),
        "category": st.none() | st.text(max_size=250),
        "score": st.none() | st.floats(0, 10),
        "points": st.none() | st.floats(),
        "points_balance": st.none() | st.floats(),
        "points_expire_on": st.none() | st.dates(),
    }
)  # fmt: skip
SCHEMA: dict[str, Any] = {
    "customer_id": pl.String, "event_id": pl.String, "event_type": pl.String,
    "ts": pl.Datetime("us"), "amount": pl.Float64, "currency": pl.String,
    "category": pl.String, "score": pl.Float64, "points": pl.Float64,
    "points_balance": pl.Float64, "points_expire_on": pl.Date, ROW: pl.Int64,
}  # fmt: skip
PLAIN = {
    "customer_id": "c", "event_id": "a", "event_type": "purchase", "ts": datetime(2020, 1, 1),  # noqa: DTZ001
    "amount": 12.5, "currency": None, "category": "books", "score": None,
}  # fmt: skip


def frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame([{**row, ROW: at} for at, row in enumerate(rows, 1)], schema=SCHEMA)


@given(st.lists(events, min_size=1, max_size=8), st.sampled_from([None, "USD", "EUR", "GBP"]))
@example([PLAIN], None)
@example([{**PLAIN, "customer_id": "NONE"}, {**PLAIN, "customer_id": "n/a"}], None)
@example([{**PLAIN, "amount": 2e18}, {**PLAIN, "amount": 1e25}, {**PLAIN, "amount": -1e40}], None)
def test_what_is_ordinary_is_accepted(rows: list[dict[str, object]], currency: str | None) -> None:
    for event in file_events(frame(rows), "files", currency, RATES, NOW):
        try:
            accepted(event.value, (), int(NOW.timestamp() * 1_000), RATES)
        except Invalid:
            assert not event.ordinary


def test_the_usual_row_is_ordinary() -> None:
    (event,) = file_events(frame([PLAIN]), "files", None, RATES, NOW)
    assert event.ordinary
    assert json.loads(event.value)["data"] == {
        "amount": "12.5", "order_id": "a", "items": [{"category": "books"}]
    }  # fmt: skip


@given(st.lists(events, min_size=1, max_size=6), st.integers(0, 5))
def test_an_id_depends_on_the_row_alone(rows: list[dict[str, object]], cut: int) -> None:
    """Cutting a file elsewhere changes neither ids nor contents."""
    whole = frame(rows).with_columns(pl.lit(1).alias(OCCURRENCE))
    parts = [whole[:cut], whole[cut:]]
    sent = [e.value for e in file_events(whole, "files", None, RATES, NOW)]
    again = [e.value for part in parts for e in file_events(part, "files", None, RATES, NOW)]
    assert sent == again


@given(st.floats(0, 1e9))
def test_amounts_keep_six_decimals(amount: float) -> None:
    (event,) = file_events(frame([{**PLAIN, "amount": amount}]), "files", None, RATES, NOW)
    text = json.loads(event.value)["data"]["amount"]
    assert abs(float(text) - amount) <= 1e-6
    assert "e" not in text
