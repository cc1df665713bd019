"""A history on disk, in pieces, gives the same training as one in memory."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.scoring.core.features.events import EventColumns, Kind
from services.scoring.core.monitoring.treatment_weights import TreatmentWindow
from services.scoring.model.churn_model import dumps
from services.scoring.training.data import panel as panels
from services.scoring.training.data.disk_history import DiskHistory, DiskHistoryWriter
from services.scoring.training.data.event_table import EventBatch, EventTable, from_columns
from services.scoring.training.data.history import History
from services.scoring.training.data.panel import RowOptions, build_panel
from services.scoring.training.fit.candidates import learn
from services.scoring.training.fit.train import train
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import END, HORIZON_DAYS, batch, day, every, shoppers


def _spooled(folder: Path, table: EventTable, pieces: int = 5, parts: int = 7) -> DiskHistory:
    """Write the table's events, shuffled, in some batches."""
    spool = DiskHistoryWriter(folder, in_memory_max=100, pieces=pieces)
    order = np.random.default_rng(3).permutation(len(table.events))
    for rows in np.array_split(order, parts):
        events = table.events.select(rows)
        spool.add(EventBatch([table.customers[at] for at in events.row], events))
    assert spool.events == len(table.events)
    found = spool.finish(table.observed_until)
    assert isinstance(found, DiskHistory)
    return found


@pytest.fixture
def spooled(tmp_path: Path) -> DiskHistory:
    """Provide `shoppers` in five pieces."""
    return _spooled(tmp_path / "spool", shoppers())


def test_every_customer_is_whole_in_one_piece(spooled: DiskHistory) -> None:
    tables = list(spooled.tables())
    assert len(tables) == 5
    customers = [c for table in tables for c in table.customers]
    assert sorted(customers) == list(shoppers().customers)
    assert sum(len(table.events) for table in tables) == len(shoppers().events)
    for table in tables:
        assert list(table.customers) == sorted(table.customers)
        assert np.all(np.diff(table.events.time) >= 0)


def test_the_panel_is_the_same_to_the_last_bit(spooled: DiskHistory) -> None:
    """Rows, order, labels and weights agree; also when thinned, and with treated customers."""
    windows = [
        TreatmentWindow(c, n % 3 == 0, _at(60), _at(74))
        for n, c in enumerate(shoppers().customers[:150])
    ]
    for rows_max in (panels.ROWS_MAX, 900):
        one, other = (
            build_panel(
                history, every(day(40), END, 7), HORIZON_DAYS, END,
                rows_max=rows_max, seed=2, asked=RowOptions(windows),
            )
            for history in _both(spooled)
        )  # fmt: skip
        for name in ("x", "silent", "at", "weight", "arm"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.cutoffs, one.treatment, one.rows_thinned) == (
            other.cutoffs, other.treatment, other.rows_thinned,
        )  # fmt: skip
        # Numbered differently, the same customers: groups begin and end at the same rows.
        assert len(set(zip(one.customer, other.customer, strict=True))) == len(set(one.customer))


def test_the_model_is_the_same_to_the_last_bit(spooled: DiskHistory) -> None:
    """On one machine with bounded memory the artefact has the same address."""
    one, other = (train(history, END, HORIZON_DAYS).model for history in _both(spooled))
    assert dumps(one) == dumps(other)


def test_everything_is_learned_from_pieces_too(spooled: DiskHistory) -> None:
    learned = learn(spooled, END, HORIZON_DAYS)
    assert [c.model.method for c in learned.candidates][-1] == "model"


def test_the_fingerprint_does_not_depend_on_the_pieces(
    tmp_path: Path, spooled: DiskHistory
) -> None:
    few = _spooled(tmp_path / "few", shoppers(), pieces=2)
    for until in (END, day(70)):
        assert spooled.fingerprint(until) == few.fingerprint(until) == shoppers().fingerprint(until)
    assert spooled.fingerprint(END) != spooled.fingerprint(day(70))


@pytest.mark.parametrize("name", [n for n in EventColumns.__slots__ if n != "row"])
def test_the_fingerprint_sees_every_column(name: str) -> None:
    table = shoppers(20)
    column = getattr(table.events, name).copy()
    column[3] = 1 if column[3] != 1 else 2
    events = EventColumns(
        **{n: column if n == name else getattr(table.events, n) for n in EventColumns.__slots__}
    )
    changed = EventTable(table.customers, events, table.observed_until)
    assert changed.fingerprint(np.inf) != table.fingerprint(np.inf)


def test_a_small_history_never_touches_the_disk(tmp_path: Path) -> None:
    spool = DiskHistoryWriter(tmp_path / "spool")
    spool.add(batch([("a", Kind.PURCHASE, 1), ("b", Kind.PURCHASE, 2)]))
    found = spool.finish()
    assert isinstance(found, EventTable)
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("times", [(0.0, 9.0), (0.5, 9.2), (0.5, 9.0)])
def test_the_last_complete_day_is_that_of_the_whole(
    tmp_path: Path, times: tuple[float, float]
) -> None:
    """Only one batch contains a time of day; it does not matter which."""
    parts = [batch([("a", Kind.PURCHASE, at)]) for at in times]
    spool = DiskHistoryWriter(tmp_path / "spool", in_memory_max=0)
    for part in parts:
        spool.add(part)
    assert spool.finish().observed_until == from_columns(parts).observed_until


def test_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="events"):
        DiskHistoryWriter(tmp_path).finish()


def _both(spooled: DiskHistory) -> tuple[History, History]:
    return shoppers(), spooled


def _at(number: float) -> datetime:
    return datetime.fromtimestamp(day(number), UTC)
