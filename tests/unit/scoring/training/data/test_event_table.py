"""Reading histories, with the pitfalls of the public data sets."""

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.training.data.event_table import (
    DATA_ENV,
    from_columns,
    from_parquet,
    named,
)
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import batch, day, purchases


def _write(folder: Path, **columns: object) -> Path:
    path = folder / "events.parquet"
    frame: dict[str, object] = {
        "event_id": ["e1", "e2", "e3", "e4"],
        "customer_id": ["b", "a", "a", "b"],
        "ts": [datetime(2020, 1, d, 12) for d in (4, 1, 2, 3)],  # noqa: DTZ001 (sets have no zone)
        "event_type": ["purchase", "purchase", "cancellation", "campaign_received"],
        "amount": [5.0, -1.0, -7.5, 0.0],
        **columns,
    }
    pl.DataFrame({k: v for k, v in frame.items() if v is not None}).write_parquet(path)
    return path


def test_rows_are_sorted_by_time_and_customers_by_id(tmp_path: Path) -> None:
    table = from_parquet(_write(tmp_path))
    assert table.customers == ("a", "b")
    assert table.events.row.tolist() == [0, 0, 1, 1]
    assert np.all(np.diff(table.events.time) > 0)
    assert table.events.time[0] == 1_577_880_000.0  # 2020-01-01 12:00 UTC


def test_types_and_signs_are_normalised(tmp_path: Path) -> None:
    """A cancellation is a positive refund; a negative purchase amount is unknown.

    A campaign has no amount.
    """
    events = from_parquet(_write(tmp_path)).events
    kinds = [Kind.PURCHASE, Kind.REFUND, Kind.CAMPAIGN_RECEIVED, Kind.PURCHASE]
    assert events.kind.tolist() == kinds
    np.testing.assert_array_equal(events.amount, [np.nan, 7.5, np.nan, 5.0])


def test_amounts_may_be_missing_altogether(tmp_path: Path) -> None:
    assert np.isnan(from_parquet(_write(tmp_path, amount=None)).events.amount).all()


def test_keys_are_the_same_in_every_process(tmp_path: Path) -> None:
    """The key is BLAKE2b of `e2` and a NUL, not Python's salted hash."""
    assert from_parquet(_write(tmp_path)).events.key[0] == 4_418_107_740_624_344_423


@pytest.mark.parametrize("column", ["event_id", "customer_id", "ts", "event_type"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(Invalid, match=column):
        from_parquet(_write(tmp_path, **{column: None}))


def test_a_missing_value_is_refused_with_its_column(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="customer_id: 1 rows"):
        from_parquet(_write(tmp_path, customer_id=["b", None, "a", "b"]))


def test_an_unfinished_last_day_is_not_observed() -> None:
    """Complete Journey's last basket is at four in the morning of New Year's Day."""
    table = from_columns([batch([("a", Kind.PURCHASE, 0.5), ("a", Kind.PURCHASE, 9.2)])])
    assert table.observed_until == day(9)


def test_with_dates_only_the_last_day_is_observed() -> None:
    table = from_columns([batch([("a", Kind.PURCHASE, 0), ("a", Kind.PURCHASE, 9)])])
    assert table.observed_until == day(10)


def test_batches_join_into_one_table_in_any_order() -> None:
    first = batch([("b", Kind.PURCHASE, 3), ("a", Kind.PURCHASE, 1)])
    second = batch([("a", Kind.PURCHASE, 2)])
    one, other = from_columns([first, second]), from_columns([second, first])
    assert one.customers == other.customers == ("a", "b")
    np.testing.assert_array_equal(one.events.time, other.events.time)
    np.testing.assert_array_equal(one.events.row, [0, 0, 1])


def test_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="events"):
        from_columns([])


def test_between_takes_the_start_and_leaves_the_end() -> None:
    table = purchases(("a", 1), ("a", 2), ("a", 3))
    assert table.between(day(1), day(3)).time.tolist() == [day(1), day(2)]


def test_next_purchases_see_the_first_purchase_of_the_window_only() -> None:
    events = [("a", Kind.PURCHASE, 1.0), ("a", Kind.PURCHASE, 1.5), ("a", Kind.PURCHASE, 0.5),
              ("b", Kind.PURCHASE, 0.0), ("b", Kind.INTERACTION, 1.0)]  # fmt: skip
    table = from_columns([batch(events)])
    assert table.next_purchases(day(1), day(2)).tolist() == [day(1), np.inf]


def test_first_purchases_are_infinite_without_one() -> None:
    events = [("a", Kind.PURCHASE, 4.0), ("a", Kind.PURCHASE, 2.0), ("b", Kind.INTERACTION, 1.0)]
    assert from_columns([batch(events)]).first_purchases().tolist() == [day(2), np.inf]


def test_the_fingerprint_sees_the_past_and_not_the_future() -> None:
    table = purchases(("a", 1), ("a", 5))
    longer = purchases(("a", 1), ("a", 5), ("a", 9))
    assert table.fingerprint(day(6)) == longer.fingerprint(day(6))
    assert table.fingerprint(day(6)) != table.fingerprint(day(4))


def test_a_named_set_is_found_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    _write(folder)
    monkeypatch.setenv(DATA_ENV, str(tmp_path))
    assert len(named("mine").events) == 4
    with pytest.raises(Invalid, match=DATA_ENV):
        named("other")
