"""An import's way of reading: faulty rows are left out with a reason, the others are read."""

from datetime import datetime
from pathlib import Path
from unittest.mock import patch
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.event_files import faults, reader, repeats, sources, text
from shared.event_files.faults import FirstFault, Rejects
from shared.event_files.options import ReadOptions
from shared.event_files.reader import EventFile
from shared.event_files.repeats import OCCURRENCE, ROWS
from shared.event_files.times import Reading, instants
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.event_files import written

HEAD = "order_id,customer_id,ts,amount\n"


def left(path: Path, options: ReadOptions | None = None) -> tuple[pl.DataFrame, dict[int, str]]:
    """Read whole and in parts on disk; return the events and the rejected rows of both."""
    found = []
    small = (
        patch.object(text, "BLOCK_BYTES", 64), patch.object(repeats, "IN_MEMORY_MAX", 1),
        patch.object(sources, "ROWS_AT_ONCE", 2), patch.object(reader, "BATCH_ROWS", 1),
    )  # fmt: skip
    for parts in (False, True):
        rejects = Rejects(path.name)
        if parts:
            with small[0], small[1], small[2], small[3]:
                frames = list(EventFile(path, options, rejects=rejects).frames())
        else:
            frames = list(EventFile(path, options, rejects=rejects).frames())
        events = pl.concat(frames).sort(sources.ROW) if frames else pl.DataFrame()
        found.append((events, rejects.reasons))
    assert found[0][1] == found[1][1]
    assert found[0][0].equals(found[1][0])
    return found[0]


def test_faulty_rows_have_their_first_reason(tmp_path: Path) -> None:
    rows = "A1,a,2024-01-01,1\nA2,a,soon,x\nA3,a,2024-01-02,x\n,a,2024-01-03,1\nA5,,soon,x\n"
    events, reasons = left(written(tmp_path, HEAD + rows))
    assert events["event_id"].to_list() == ["A1"]
    assert reasons == {
        2: "ts: 'soon' is not a time", 3: "amount: 'x' is not a number", 4: "event_id has none"
    }  # fmt: skip


def test_a_faulty_line_takes_its_order_with_it(tmp_path: Path) -> None:
    rows = "A1,a,2024-01-01,1\nA1,a,2024-01-01,x\nA1,b,2024-01-01,4\nA2,a,2024-01-01,2\n"
    rows += "A2,a,2024-01-01,3\n,a,2024-01-01,5\n"
    events, reasons = left(written(tmp_path, HEAD + rows), ReadOptions(lines_of_one_order=True))
    assert events.select("customer_id", "event_id", "amount", ROWS).rows() == [
        ("b", "A1", 4.0, [3]), ("a", "A2", 5.0, [4, 5])
    ]  # fmt: skip
    assert reasons == {
        1: "event_id: row 2 of the same order is rejected",
        2: "amount: 'x' is not a number",
        6: "event_id has none",
    }


def test_equal_rows_without_ids_are_numbered(tmp_path: Path) -> None:
    rows = "customer_id,ts,amount\n" + "a,2024-01-01,1\nb,2024-01-01,1\na,2024-01-01,1.0\n" * 2
    events, _ = left(written(tmp_path, rows))
    assert events[OCCURRENCE].to_list() == [1, 1, 2, 3, 2, 4]


def test_too_many_rejects_are_a_mistake_of_the_column(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "A,a,soon,1\n" * 4)
    with (
        patch.object(faults, "REJECTS_MAX", 3),
        pytest.raises(Invalid, match="more than 3 rows cannot be imported, the first is row 1"),
    ):
        left(path)


def test_currencies_by_row(tmp_path: Path) -> None:
    rows = (
        "customer_id,ts,amount,currency\na,2024-01-01,1,eur\nb,2024-01-01,1,元\nc,2024-01-01,1,\n"
    )
    path = written(tmp_path, rows)
    assert left(path)[0]["currency"].to_list() == ["EUR", "CNY", None]
    with pytest.raises(Invalid, match="currency: CNY and EUR: one currency is expected"):
        list(EventFile(path).frames())


@pytest.mark.parametrize(
    ("given_text", "instant"),
    [
        ("2024-03-05 14:30", "2024-03-05 06:30"),
        ("2024-03-05", "2024-03-04 16:00"),
        ("20240305", "2024-03-04 16:00"),
        ("2024-03-05T14:30:00+02:00", "2024-03-05 12:30"),
        ("2024-03-05T14:30:00Z", "2024-03-05 14:30"),
        ("1709649000", "2024-03-05 14:30"),
        ("1709649000000", "2024-03-05 14:30"),
    ],
)
def test_a_stated_zone_moves_local_times_only(given_text: str, instant: str) -> None:
    column = pl.Series([given_text])
    reading = Reading(zone=ZoneInfo("Asia/Shanghai"))
    found = instants(column, pl.Series([1]), reading, FirstFault())
    assert found[0] == datetime.fromisoformat(instant)


@pytest.mark.parametrize(
    ("local", "instant"),
    [("2024-10-27 02:30", "2024-10-27 00:30"), ("2024-03-31 02:30", "2024-03-31 01:30")],
)
def test_repeated_and_skipped_hours_have_a_time(local: str, instant: str) -> None:
    reading = Reading(zone=ZoneInfo("Europe/Berlin"))
    found = instants(pl.Series([local]), pl.Series([1]), reading, FirstFault())
    assert found[0] == datetime.fromisoformat(instant)


@given(
    st.datetimes(datetime(1990, 1, 2), datetime(2099, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["Asia/Shanghai", "America/New_York", "Asia/Kathmandu", "UTC"]),
)
def test_a_zone_agrees_with_the_library(at: datetime, name: str) -> None:
    at = at.replace(microsecond=0, fold=0)
    zone = ZoneInfo(name)
    there = at.replace(tzinfo=zone).astimezone(ZoneInfo("UTC"))
    skipped = there.astimezone(zone).replace(tzinfo=None) != at
    found = instants(
        pl.Series([at.isoformat(" ")]), pl.Series([1]), Reading(zone=zone), FirstFault()
    )
    if not skipped:
        assert found[0] == there.replace(tzinfo=None)
