"""Settles rows with the same event id: repetitions, lines of one order, or mistakes.

An event counts once per customer. Rows equal in all columns are one row. Rows that differ are
refused, because dropping them loses money, or are added up where the person states that they are
lines of one order. Works for files of any size: beyond `IN_MEMORY_MAX` rows the rows are spooled to
disk, partitioned by customer, and one piece is in memory at a time.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from shared.event_files.distinct import SEED
from shared.event_files.faults import Rejects
from shared.event_files.headers import POINTS
from shared.event_files.sources import ROW
from shared.kernel.errors import Invalid

IN_MEMORY_MAX: Final = 1_000_000
"""Rows that are settled in memory: about 150 MB."""
PIECES: Final = 64
"""50 million rows make pieces of 0.8 million."""
CONTENT: Final = " content"
"""Column with a hash of the whole row as the file has it."""
REASON: Final = " reason"
"""Column of an import's rows: why a row is rejected; its whole order then is."""
ROWS: Final = " rows"
"""Column of events that were several lines: the numbers of their rows."""
OCCURRENCE: Final = " occurrence"
"""Column that numbers equal events of a file without ids, from 1."""
_EQUAL: Final = (
    "customer_id", "event_type", "ts", "amount", "currency", "category", "score"
)  # fmt: skip
_PIECE: Final = " piece"


@dataclass(slots=True)
class Counts:
    """Rows that were not kept."""

    repeated: int = 0
    joined: int = 0
    rejects: Rejects | None = None
    """Receives the rows of orders of which a line is faulty."""


def settled(
    frames: Iterable[pl.DataFrame], counts: Counts, folder: Path | None, *, lines: bool
) -> Iterator[pl.DataFrame]:
    """Yield the events of the rows, each once; `counts` grows. Raises Invalid naming two rows.

    A frame has `customer_id, event_id, ts, event_type, amount, currency, category, score`, ROW,
    CONTENT and, in an import, REASON.
    `folder` is where rows are spooled meanwhile; None: the system's.
    """
    with _pieces(frames, folder) as pieces:
        _refuse((piece() for piece in pieces), lines=lines)
        for piece in pieces:
            yield _once(piece(), counts, lines=lines)


def numbered(frames: Iterable[pl.DataFrame], folder: Path | None) -> Iterator[pl.DataFrame]:
    """Yield the rows with OCCURRENCE: equal events of a customer have the numbers from 1."""
    with _pieces(frames, folder) as pieces:
        for piece in pieces:
            frame = piece()
            equal = [*_EQUAL, *(name for name in POINTS if name in frame.columns)]
            count = pl.int_range(1, pl.len() + 1).over(equal)
            yield frame.with_columns(count.alias(OCCURRENCE))


@contextmanager
def _pieces(
    frames: Iterable[pl.DataFrame], folder: Path | None
) -> Iterator[list[Callable[[], pl.DataFrame]]]:
    """Divide the rows so that a customer's are in one piece, in their order; each loads a piece."""
    waiting: list[pl.DataFrame] = []
    rows = 0
    later = iter(frames)
    for frame in later:
        waiting.append(frame)
        rows += len(frame)
        if rows > IN_MEMORY_MAX:
            break
    else:
        yield [partial(pl.concat, waiting)] if waiting else []
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix="events-") as home:
        with ExitStack() as stack:
            lay = _writers(Path(home), stack)
            for frame in waiting:
                lay(frame)
            waiting.clear()
            for frame in later:
                lay(frame)
        yield [partial(pl.read_parquet, path) for path in sorted(Path(home).glob("*.parquet"))]


def _writers(home: Path, stack: ExitStack) -> Callable[[pl.DataFrame], None]:
    writers: dict[int, pq.ParquetWriter] = {}

    def lay(frame: pl.DataFrame) -> None:
        piece = (pl.col("customer_id").hash(SEED) % PIECES).alias(_PIECE)
        cut = frame.with_columns(piece).partition_by(_PIECE, as_dict=True, include_key=False)
        for (n,), part in cut.items():
            table = part.to_arrow()
            if n not in writers:
                file = home / f"{n:04}.parquet"
                writers[n] = stack.enter_context(pq.ParquetWriter(file, table.schema))
            writers[n].write_table(table)

    return lay


def _refuse(pieces: Iterable[pl.DataFrame], *, lines: bool) -> None:
    """Raise Invalid naming the first row that differs from an earlier one of the same id."""
    if lines:
        return
    found: list[tuple[int, int, str]] = []
    for piece in pieces:
        group = ["customer_id", "event_id"]
        doubtful = piece.select(*group, CONTENT, ROW).filter(pl.struct(group).is_duplicated())
        first = doubtful.with_columns(
            first=pl.col(ROW).first().over(group), same=pl.col(CONTENT).first().over(group)
        ).filter(pl.col(CONTENT) != pl.col("same"))
        if len(first):
            found.append(first.select(ROW, "first", "event_id").row(int(first[ROW].arg_min() or 0)))
    if found:
        row, earlier, name = min(found)
        raise Invalid(
            "event_id",
            f"rows {earlier} and {row} are both {name!r} and differ: if they are lines of one "
            "order, say --lines-of-one-order and their amounts are added",
        )


def _once(frame: pl.DataFrame, counts: Counts, *, lines: bool) -> pl.DataFrame:
    group = ["customer_id", "event_id"]
    kept = frame.unique([*group, CONTENT], keep="first", maintain_order=True)
    counts.repeated += len(frame) - len(kept)
    if not lines:
        return kept
    if REASON in kept.columns:
        kept = _of_sound_orders(kept, counts)
    whole = (
        kept.group_by(*group, "event_type", maintain_order=True)
        .agg(
            pl.col("ts").min(),
            pl.when(pl.col("amount").is_not_null().any()).then(pl.col("amount").sum()),
            pl.col("currency").first(),
            pl.col("category").first(),
            pl.col("score", *(name for name in POINTS if name in kept.columns)).first(),
            pl.col(CONTENT).first(),
            pl.col(ROW).alias(ROWS),
        )
        .with_columns(pl.col(ROWS).list.first().alias(ROW))
    )
    counts.joined += len(kept) - len(whole)
    return whole


def _of_sound_orders(frame: pl.DataFrame, counts: Counts) -> pl.DataFrame:
    """Keep the orders without a faulty line; the lines of the others are rejected together."""
    order = ["customer_id", "event_id"]
    first = pl.col(ROW).filter(pl.col(REASON).is_not_null()).first().over(order)
    broken = frame.with_columns(first.alias("first")).filter(pl.col("first").is_not_null())
    assert counts.rejects is not None  # noqa: S101 (only an import has REASON)
    counts.rejects.add(
        {
            row: reason or f"event_id: row {other} of the same order is rejected"
            for row, reason, other in broken.select(ROW, REASON, "first").iter_rows()
        }
    )
    return frame.join(broken.select(order).unique(), on=order, how="anti", maintain_order="left")
