"""Reads the rows of a file as frames, a part at a time: CSV, JSON Lines or Parquet.

The later stages see columns by the file's own names and `ROW`, the row's number. Text stays text,
so that customer 007 is not customer 7. Values are not interpreted.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from shared.event_files.options import Format, ReadOptions
from shared.event_files.text import (
    SEPARATOR_LINE,
    TextFile,
    delimiter_of,
    head_end,
)
from shared.kernel.errors import Invalid

ROW: Final = " row"
"""Column with the row's number in the file, from 1; the header and empty lines at the end are not
counted. No header of a file begins with a blank, so the name is free."""
ROWS_AT_ONCE: Final = 250_000
"""Rows per part of a Parquet file: about 100 MB while they become columns."""
PARQUET: Final = (".parquet", ".pq")
CSV: Final = (".csv", ".tsv", ".txt", ".gz")
JSON: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


class RowSource(Protocol):
    """A file with rows that can be read any number of times."""

    format: Format
    encoding: str | None
    delimiter: str | None
    headers: Sequence[str]

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield frames with ROW and all columns, or those named; empty rows are left out."""


def opened(path: Path, options: ReadOptions) -> RowSource:
    """Open the source of a file. Raises Invalid naming a file that is missing or unreadable."""
    if not path.is_file():
        raise Invalid("events", f"there is no file {path}")
    name = path.name.lower()
    if name.endswith(JSON):
        return _Json(path, options)
    if name.endswith(PARQUET):
        return _Parquet(path)
    if name.endswith(CSV):
        return _Csv(path, options)
    hint = ": save the sheet as CSV" if name.endswith((".xls", ".xlsx", ".ods", ".numbers")) else ""
    raise Invalid("events", f"{path.name}: a .csv, .jsonl or .parquet file is expected{hint}")


class _Csv:
    format: Format = "csv"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path = path
        self._text = TextFile(path, options.encoding, quotes=True)
        self.encoding: str | None = self._text.encoding
        first = next(self._text.blocks(), None)
        if first is None:
            raise Invalid("events", f"{path.name} cannot be read: it is empty")
        said = SEPARATOR_LINE.match(first)
        self._skip = said.end() if said else 0
        self._skip += head_end(first[self._skip :])
        head = first[said.end() if said else 0 : self._skip].decode()
        self.delimiter: str | None = said[1].decode() if said else delimiter_of(head)
        with _readable(path):
            row = next(csv.reader([*head.splitlines(keepends=True)], delimiter=self.delimiter), [])
        self.headers: Sequence[str] = [
            name.strip() or f"column {at + 1}" for at, name in enumerate(row)
        ]

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        row, skip = 0, self._skip
        places: Any = columns and [self.headers.index(name) for name in columns]
        for block in self._text.blocks():
            data, skip = block[skip:], 0
            if not data.strip():
                continue
            with _readable(self._path):
                frame = pl.read_csv(
                    data,
                    has_header=False,
                    separator=self.delimiter or ",",
                    schema=dict.fromkeys(self.headers, pl.String),
                    columns=places,
                )
            yield _filled(frame, row)
            row += len(frame)


class _Json:
    format: Format = "jsonl"
    delimiter: str | None = None

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path = path
        self._text = TextFile(path, options.encoding, quotes=False)
        self.encoding: str | None = self._text.encoding
        names: dict[str, None] = {}
        for frame in self._frames():
            names |= dict.fromkeys(frame.columns)
        if not names:
            raise Invalid("events", f"{path.name} cannot be read: it is empty")
        self.headers: Sequence[str] = list(names)

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        row = 0
        for frame in self._frames():
            absent = [pl.lit(None, pl.String).alias(n) for n in self.headers if n not in frame]
            full = frame.with_columns(absent).select(columns or self.headers)
            yield _filled(full, row)
            row += len(frame)

    def _frames(self) -> Iterator[pl.DataFrame]:
        for block in self._text.blocks():
            with _readable(self._path):
                yield pl.read_ndjson(block, infer_schema_length=None)


class _Parquet:
    format: Format = "parquet"
    encoding: str | None = None
    delimiter: str | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        with _readable(path), pq.ParquetFile(path) as file:
            self.headers: Sequence[str] = file.schema_arrow.names

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        row = 0
        with _readable(self._path), pq.ParquetFile(self._path) as file:
            for part in file.iter_batches(ROWS_AT_ONCE, columns=columns and list(columns)):
                frame = pl.DataFrame(pa.Table.from_batches([part]))
                yield _filled(frame, row)
                row += len(frame)


def _filled(frame: pl.DataFrame, before: int) -> pl.DataFrame:
    """Return the rows that are not empty, with their numbers."""
    numbered = frame.with_row_index(ROW, before + 1).with_columns(pl.col(ROW).cast(pl.Int64))
    return numbered.filter(~pl.all_horizontal(pl.exclude(ROW).is_null()))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        if "more fields" in reason or "not specified in schema" in reason:
            reason = "a row has more fields than the header (is a value with the delimiter in it "
            reason += "not in quotes?)"
        elif "not found in CSV" in reason:
            reason = "its rows have fewer fields than the header"
        raise Invalid("events", f"{path.name} cannot be read: {reason}") from error
    except (pa.ArrowException, OSError, csv.Error) as error:
        raise Invalid("events", f"{path.name} cannot be read: {error}") from error
