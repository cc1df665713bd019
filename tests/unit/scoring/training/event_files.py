"""Reading a file in both ways at once, for the tests of event files."""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np

from services.scoring.training.data.event_file import LoadedFile, batches
from services.scoring.training.data.event_table import EventTable, from_columns
from shared.event_files import reader, repeats, sources, text
from shared.event_files.options import ReadOptions
from shared.event_files.reader import EventFile
from shared.kernel.errors import Invalid

HEAD = "event_id,customer_id,ts,event_type,amount\n"


def utc(*parts: int) -> float:
    """Return the Unix seconds of a time in UTC."""
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


def written(folder: Path, content: str | bytes, name: str = "events.csv") -> Path:
    """Write a file with this content, compressed where its name implies it."""
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return path


def both(path: Path, options: ReadOptions | None = None) -> LoadedFile:
    """Read the file whole, and in parts of a few rows on disk; check that both are equal."""
    size = path.stat().st_size if path.exists() else 0
    rows = max(1, size // 1_000)  # one row in a small file, some dozen parts of a large one
    small = (
        patch.object(text, "BLOCK_BYTES", max(64, size // 7)),
        patch.object(sources, "ROWS_AT_ONCE", 2 * rows),
        patch.object(repeats, "IN_MEMORY_MAX", 1), patch.object(reader, "BATCH_ROWS", rows),
    )  # fmt: skip
    whole, trouble = _tried(path, options)
    with small[0], small[1], small[2], small[3]:
        parts, other = _tried(path, options)
    assert str(trouble) == str(other)
    if trouble is not None:
        raise trouble
    assert whole is not None
    assert parts is not None
    assert whole.read == parts.read
    same(whole.table, parts.table)
    return whole


def same(one: EventTable, other: EventTable) -> None:
    """Raise AssertionError where two histories differ."""
    assert one.customers == other.customers
    assert one.observed_until == other.observed_until
    assert one.fingerprint(np.inf) == other.fingerprint(np.inf)


def _tried(path: Path, options: ReadOptions | None) -> tuple[LoadedFile | None, Invalid | None]:
    try:
        file = EventFile(path, options)
        table = from_columns(batches(file))
    except Invalid as invalid:
        return None, invalid
    return LoadedFile(table, file.read()), None
