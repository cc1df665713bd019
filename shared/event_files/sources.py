"""Reads the rows of a file as frames, a part at a time: CSV, JSON Lines, sheets, Parquet.

The later stages see columns by the file's own names and `ROW`, the row's number. Text stays text,
so that customer 007 is not customer 7. Values are not interpreted.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from shared.event_files.options import Format, ReadOptions
from shared.event_files.packing import kind_of
from shared.event_files.sheets import SheetAsCsv
from shared.event_files.text import (
    SEPARATOR_LINE,
    TextFile,
    delimiter_of,
    head_end,
)
from shared.kernel.errors import UNREADABLE, Invalid

ROW: Final = " row"
"""Column with the row's number in the file, from 1; the header and empty lines at the end are not
counted. No header of a file begins with a blank, so the name is free."""
ROWS_AT_ONCE: Final = 250_000
"""Rows per part of a Parquet file: about 100 MB while they become columns."""
PARQUET: Final = (".parquet", ".pq")


class RowSource(Protocol):
    """A file with rows that can be read any number of times."""

    format: Format
    encoding: str | None
    delimiter: str | None
    headers: Sequence[str]

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield frames with ROW and all columns, or those named; empty rows are left out."""


def opened(path: Path, options: ReadOptions, folder: Path | None = None) -> RowSource:
    """Open the source of a file by what it holds, whatever its name is.

    `folder`: where a sheet is spooled (None: the system's). Raises Invalid naming a file that is
    missing or unreadable.
    """
    if path.is_dir():
        raise Invalid("events", f"{path} is a folder: name the files in it")
    if not path.is_file():
        raise Invalid("events", f"there is no file {path}")
    kind = kind_of(path)
    if kind == "sheet":
        return _Sheet(path, options, folder)
    if kind == "parquet" or path.name.lower().endswith(PARQUET):
        return _Parquet(path)
    text = TextFile(path, options.encoding)
    return _Json(path, text) if text.format == "jsonl" else _Csv(path, text)


class _Csv:
    format: Format = "csv"

    def __init__(self, path: Path, text: TextFile, delimiter: str | None = None) -> None:
        self._path = path
        self._text = text
        self.encoding: str | None = text.encoding
        first = next(self._text.blocks(), None)
        if first is None:
            raise Invalid("events", f"{path.name} cannot be read: it is empty")
        said = SEPARATOR_LINE.match(first)
        self._skip = said.end() if said else 0
        self._skip += head_end(first[self._skip :])
        head = first[said.end() if said else 0 : self._skip].decode()
        self.delimiter: str | None = said[1].decode() if said else delimiter or delimiter_of(head)
        with _readable(path):
            row = next(csv.reader([*head.splitlines(keepends=True)], delimiter=self.delimiter), [])
        if not any(name.strip() for name in row):
            raise Invalid("events", f"{path.name} has no header: its first row is blank")
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
            with _readable(self._path, partial(self._ragged, data, row)):
                frame = pl.read_csv(
                    data,
                    has_header=False,
                    separator=self.delimiter or ",",
                    schema=dict.fromkeys(self.headers, pl.String),
                    columns=places,
                )
            # Of the first pass, which reads some columns. More marks are in values in quotes; fewer
            # are blank rows, or rows that are cut off.
            marks = len(frame) * (len(self.headers) - 1)
            fit = places is None or data.count(self._mark) == marks
            if not fit and (why := self._ragged(data, row)):
                raise Invalid("events", f"{self._path.name} cannot be read: {why}")
            yield _filled(frame, row)
            row += len(frame)

    @property
    def _mark(self) -> bytes:
        return (self.delimiter or ",").encode()

    def _ragged(self, data: bytes, before: int) -> str:
        """Return which row of a block has more fields than the header, or fewer."""
        rows = csv.reader(data.decode().splitlines(keepends=True), delimiter=self.delimiter or ",")
        for at, row in enumerate(rows, before + 1):
            if len(row) == len(self.headers) or not any(field.strip() for field in row):
                continue
            why = (
                f"is a value with {self.delimiter!r} in it not in quotes?"
                if len(row) > len(self.headers)
                else "is it cut off, or a line break not in quotes?"
            )
            return f"row {at} has {len(row)} fields, the header {len(self.headers)} ({why})"
        return ""


class _Sheet(_Csv):
    format: Format = "sheet"

    def __init__(self, path: Path, options: ReadOptions, folder: Path | None) -> None:
        self._spool = SheetAsCsv(path, options.sheet, folder)
        super().__init__(path, TextFile(self._spool.path, "utf-8", "csv"), ",")
        self.encoding = self.delimiter = None


class _Json:
    format: Format = "jsonl"
    delimiter: str | None = None

    def __init__(self, path: Path, text: TextFile) -> None:
        self._path = path
        self._text = text
        self.encoding: str | None = text.encoding
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
        lines = 0
        for block in self._text.blocks():
            with _readable(self._path, partial(_no_object, block, lines)):
                yield pl.read_ndjson(block, infer_schema_length=None)
            lines += block.count(b"\n")


def _no_object(block: bytes, before: int) -> str:
    """Return which line of a block is no JSON object."""
    for at, line in enumerate(block.splitlines(), before + 1):
        try:
            msgspec.json.decode(line or b"{}", type=dict)
        except UNREADABLE as error:
            mend = "" if at > 1 else "; write each record on one line, as jq -c does"
            return f"line {at} is no JSON object ({error}){mend}"
    return ""


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
def _readable(path: Path, ragged: Callable[[], str] | None = None) -> Iterator[None]:
    """Within the block, a broken file raises Invalid; `ragged` names the row."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = (ragged() if ragged is not None else "") or str(error).partition("\n")[0]
        raise Invalid("events", f"{path.name} cannot be read: {reason}") from error
    except (pa.ArrowException, OSError, csv.Error) as error:
        raise Invalid("events", f"{path.name} cannot be read: {error}") from error
