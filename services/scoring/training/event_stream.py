"""An event file of any size, a part at a time: what fills a spool in bounded memory.

Reads what `table.from_parquet` reads, and CSV with the same columns. It never holds more than
one part.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from services.scoring.training.table import COLUMNS_REQUIRED, EventBatch, batch_of_frame
from shared.kernel.errors import Invalid

ROWS_AT_ONCE: Final = 500_000
"""Rows of a part of Parquet: about 150 MB while they become columns."""
CSV_BYTES_AT_ONCE: Final = 32 * 1024 * 1024
"""Of a part of CSV: about as many rows."""
OPTIONAL: Final = ("amount", "category")


def batches(path: Path) -> Iterator[EventBatch]:
    """The events of a `.parquet` or `.csv` file, in parts. Raises Invalid naming the column."""
    row = 0
    for frame in _parquet(path) if path.suffix == ".parquet" else _csv(path):
        for name in COLUMNS_REQUIRED:
            if missing := frame[name].null_count():
                raise Invalid(name, f"{missing} rows of {path.name} have none (after row {row:,})")
        row += len(frame)
        yield batch_of_frame(frame)


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    with pq.ParquetFile(path) as file:
        wanted = _wanted(path, file.schema_arrow.names)
        for part in file.iter_batches(ROWS_AT_ONCE, columns=wanted):
            yield _frame(part)


def _csv(path: Path) -> Iterator[pl.DataFrame]:
    # Ids are text, whatever the first rows look like.
    types = dict.fromkeys(("event_id", "customer_id", "event_type", "category"), pa.string())
    try:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(block_size=CSV_BYTES_AT_ONCE),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={**types, "ts": pa.timestamp("us"), "amount": pa.float64()},
                strings_can_be_null=True,
            ),
        ) as reader:
            wanted = _wanted(path, reader.schema.names)
            for part in reader:
                yield _frame(part.select(wanted))
    except pa.ArrowInvalid as error:
        raise Invalid("events", f"{path.name}: {error}") from error


def _wanted(path: Path, present: list[str]) -> list[str]:
    for name in COLUMNS_REQUIRED:
        if name not in present:
            raise Invalid(name, f"column missing in {path.name}")
    return [*COLUMNS_REQUIRED, *(name for name in OPTIONAL if name in present)]


def _frame(part: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.DataFrame(pa.Table.from_batches([part]))
    zone = getattr(frame.schema["ts"], "time_zone", None)
    ts = pl.col("ts").dt.convert_time_zone("UTC") if zone else pl.col("ts")
    return frame.with_columns(ts.dt.replace_time_zone(None) if zone else ts)
