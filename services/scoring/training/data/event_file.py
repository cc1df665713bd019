"""The history in an event file (docs/event-files.md) as the columns that training folds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.scoring.training.data.event_table import (
    EventBatch,
    EventTable,
    batch_of_frame,
    from_columns,
)
from shared.event_files.headers import named
from shared.event_files.options import Read, ReadOptions
from shared.event_files.reader import EventFile
from shared.event_files.words import PURCHASE
from shared.kernel.errors import Invalid


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A whole file: its events, and the report of how they were read."""

    table: EventTable
    read: Read


def read(path: Path, options: ReadOptions | None = None) -> LoadedFile:
    """Read all events of a file. Raises Invalid naming column and row, or the file."""
    file = EventFile(path, options)
    table = from_columns(batches(file))
    return LoadedFile(table, file.read())


def batches(file: EventFile) -> Iterator[EventBatch]:
    """Yield the events in parts, each event once, in no order.

    Raises Invalid naming column and row, or where no event is a purchase.
    """
    types: set[str] = set()
    for frame in file.frames():
        types |= set(frame["event_type"].unique())
        yield batch_of_frame(frame)
    if PURCHASE not in types:
        raise Invalid("event_type", f"no row is a {PURCHASE}: {named(sorted(types)) or 'no rows'}")
