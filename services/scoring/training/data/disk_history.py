"""Histories larger than memory: events are spooled to disk by customer and read in pieces.

Rows and models do not depend on whether, or into how many pieces, a history was cut: each
customer's events are all in one piece, chosen by a hash of the id, and rows are put back in order.
Below `IN_MEMORY_MAX` events nothing is written to disk.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from services.scoring.core.features.events import DAY_S, EventColumns
from services.scoring.training.data.event_table import (
    EventBatch,
    EventTable,
    from_columns,
    last_complete_day,
    mark,
    sorted_events,
)
from services.scoring.training.data.history import History
from shared.kernel.arrays import Floats

IN_MEMORY_MAX: Final = 2_000_000
"""Events kept in memory, not on disk: about 0.4 GB while they are sorted."""
PIECES: Final = 64
"""50 million events make pieces of 0.8 million, about 150 MB while one is folded."""
SEED: Final = 17
"""Seed of the hash that chooses a customer's piece; any number would do."""
_NAMES: Final = [field.name for field in fields(EventColumns) if field.name != "row"]


class DiskHistoryWriter:
    """Builds a history: `add` batches, then `finish`. The folder must outlive the history."""

    def __init__(
        self, folder: Path, *, in_memory_max: int = IN_MEMORY_MAX, pieces: int = PIECES
    ) -> None:
        self._folder = folder
        self._in_memory_max = in_memory_max
        self._pieces = pieces
        self._waiting: list[EventBatch] = []
        self._open = ExitStack()
        self._writers: list[pq.ParquetWriter] = []
        self._last = _Last()
        self.events = 0

    def add(self, batch: EventBatch) -> None:
        """Add events of any customers, in any order."""
        if not len(batch.customers):
            return
        self.events += len(batch.customers)
        self._last.see(batch.columns.time)
        self._waiting.append(batch)
        if self._writers or self.events > self._in_memory_max:
            for waiting in self._waiting:
                self._lay_down(waiting)
            self._waiting = []

    def finish(self, observed_until: float | None = None) -> History:
        """Return the history; `observed_until` defaults to the end of the last complete day.

        Raises Invalid when there are no events.
        """
        self._open.close()
        if not self._writers:
            return from_columns(self._waiting, observed_until)
        end = self._last.complete_day() if observed_until is None else observed_until
        return DiskHistory(sorted(self._folder.glob("*.parquet")), end)

    def _lay_down(self, batch: EventBatch) -> None:
        customers = pl.Series("customer", batch.customers, pl.String)
        piece = (customers.hash(SEED) % self._pieces).to_numpy()
        order = np.argsort(piece, kind="stable")
        edges = np.searchsorted(piece[order], np.arange(self._pieces + 1))
        columns: dict[str, object] = {"customer": customers.to_arrow()}
        columns |= {name: getattr(batch.columns, name) for name in _NAMES}
        table = pa.table(columns).take(pa.array(order))
        if not self._writers:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writers = [
                self._open.enter_context(
                    pq.ParquetWriter(self._folder / f"{n:04}.parquet", table.schema)
                )
                for n in range(self._pieces)
            ]
        for n, writer in enumerate(self._writers):
            if edges[n] < edges[n + 1]:
                writer.write_table(table.slice(edges[n], edges[n + 1] - edges[n]))


class _Last:
    """Tracks the newest time over all batches, and whether all times are dates only."""

    def __init__(self) -> None:
        self._newest = -np.inf
        self._odd = np.empty(0)
        """One time that is not midnight, if there was any."""

    def see(self, times: Floats) -> None:
        self._newest = max(self._newest, float(times.max()))
        if not len(self._odd):
            self._odd = times[times % DAY_S != 0.0][:1]

    def complete_day(self) -> float:
        return last_complete_day(np.concatenate([[self._newest], self._odd]))


@dataclass(frozen=True, slots=True)
class DiskHistory:
    """A history on disk; one piece is in memory at a time."""

    pieces: list[Path]
    """Files, some without an event."""
    observed_until: float
    """Unix seconds, UTC."""

    @property
    def files(self) -> list[Path]:
        """Return the files of non-empty pieces; other processes read them by `table_of`."""
        return [file for file in self.pieces if pq.read_metadata(file).num_rows]

    def tables(self) -> Iterator[EventTable]:
        """Yield the table of each piece that has a customer."""
        for file in self.files:
            yield table_of(file, self.observed_until)

    def first_purchases(self) -> Floats:
        """First purchases of all customers, piece by piece."""
        return np.concatenate([table.first_purchases() for table in self.tables()])

    def fingerprint(self, until: float) -> str:
        """Return the same fingerprint as that of the same events in memory."""
        return f"{sum(mark(table, until) for table in self.tables()) % (1 << 64):016x}"


def table_of(file: Path, observed_until: float) -> EventTable:
    """Read one piece of a spooled history; each of its customers is complete."""
    found = pq.read_table(file)
    coded = found.column("customer").combine_chunks().dictionary_encode()
    names = np.array(coded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(names)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    columns = {name: found.column(name).to_numpy() for name in _NAMES}
    events = EventColumns(row=rank[coded.indices.to_numpy()], **columns)
    return EventTable(
        customers=tuple(names[order].tolist()),
        events=sorted_events(events),
        observed_until=observed_until,
    )
