"""Other companies' event files: Parquet or CSV, read leniently, refused clearly.

What it is for: the columns `event_id, customer_id, ts, event_type, amount` as exports really
have them, brought to what the kernel folds. Odd but meaningful rows are kept, rows that belong to
nobody are left out and counted, and what has no meaning is an Invalid that names the column.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from services.scoring.training.table import EventTable, from_frame
from shared.kernel.errors import Invalid

PARQUET: Final = (".parquet", ".pq")
CSV: Final = (".csv", ".tsv", ".txt", ".gz")
SEPARATORS: Final = ",;\t|"
REQUIRED: Final = ("customer_id", "ts", "event_type")
PURCHASE: Final = "purchase"
EPOCH_UNITS: Final = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"))
"""An integer time at or above it (in the year 1973 or later) is in that unit, else in seconds."""
DATE_NUMBERS: Final = (19_000_101, 21_001_231)
"""Integers all of this size are dates written without dashes, not seconds of the year 1970."""
TIME_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%Y%m%d")
"""ISO 8601 and its parts; days before months cannot be told from months before days."""
NAMED_MAX: Final = 12
"""Columns or event types that an error quotes: enough to see the mistake."""


@dataclass(frozen=True, slots=True)
class Read:
    """A file's events and what was noticed on the way."""

    table: EventTable
    rows: int
    """Of the file."""
    without_customer: int
    """Left out: nobody's events (guests)."""
    repeated: int
    """Left out: a customer's event id that came before."""
    amounts_known: float
    """Share of the purchases with an amount of at least 0."""

    def notes(self) -> dict[str, float | int]:
        """For the figures: everything but the events themselves."""
        return {
            "rows": self.rows,
            "without_customer": self.without_customer,
            "repeated": self.repeated,
            "amounts_known": self.amounts_known,
            "customers": len(self.table.customers),
        }


def read(path: Path) -> Read:
    """The events of one Parquet or CSV file.

    `ts`: a time (without a zone: UTC), a date, ISO text, or seconds/milliseconds since 1970.
    `event_id` may be missing: each row is then an event of its own. `amount` may be missing, and
    of any sign. Raises Invalid naming the column, or the file.
    """
    frame = _load(path)
    for name in REQUIRED:
        if name not in frame.columns:
            raise Invalid(name, f"column missing in {path.name}; it has {_list(frame.columns)}")
    rows = len(frame)
    frame = frame.with_columns(
        _text("customer_id", frame),
        _text("event_type", frame).str.to_lowercase(),
        event_id=_text("event_id", frame) if "event_id" in frame.columns else _row_numbers(rows),
        amount=_amount(frame),
        ts=_time(frame["ts"]),
    )
    frame = frame.filter(pl.col("customer_id").is_not_null())
    named = len(frame)
    for column in ("event_type", "event_id"):
        if frame[column].null_count():
            raise Invalid(column, f"{frame[column].null_count()} rows of {path.name} have none")
    frame = frame.unique(["customer_id", "event_id"], keep="first", maintain_order=True)
    bought = frame.filter(pl.col("event_type") == PURCHASE)
    if bought.is_empty():
        raise Invalid("event_type", f"no row is a {PURCHASE}: {_list(_kinds(frame)) or 'no rows'}")
    return Read(
        table=from_frame(frame),
        rows=rows,
        without_customer=rows - named,
        repeated=named - len(frame),
        amounts_known=int((bought["amount"] >= 0.0).sum()) / len(bought),
    )


def _load(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise Invalid("events", f"there is no file {path}")
    try:
        if path.suffix.lower() in PARQUET:
            return pl.read_parquet(path)
        if path.suffix.lower() in CSV:
            return _load_csv(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Invalid("events", f"{path.name} cannot be read: {error}") from error
    raise Invalid("events", f"{path.name}: a .parquet or .csv file is expected")


def _load_csv(path: Path) -> pl.DataFrame:
    # Read as text: a type guessed from the first rows breaks on a later one.
    head = pl.read_csv(path, n_rows=0, separator="\n", quote_char=None, encoding="utf8-lossy")
    line = head.columns[0] if head.columns else ""
    separator = max(SEPARATORS, key=line.count)
    frame = pl.read_csv(
        path,
        separator=separator,
        infer_schema=False,
        encoding="utf8-lossy",
        null_values=["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"],
    )
    return frame.rename(lambda name: name.strip().strip("\ufeff"))


def _text(name: str, frame: pl.DataFrame) -> pl.Expr:
    text = pl.col(name)
    if frame.schema[name].is_float():
        # An integer column with gaps comes as float from some exporters: 17.0 is customer 17.
        whole = text.is_null() | text.is_nan() | (text == text.round())
        if frame.select(whole.all()).item():
            text = text.fill_nan(None).cast(pl.Int64)
    stripped = text.cast(pl.String).str.strip_chars()
    return pl.when(stripped == "").then(None).otherwise(stripped).alias(name)


def _row_numbers(rows: int) -> pl.Series:
    return pl.Series("event_id", range(rows), pl.Int64).cast(pl.String)


def _amount(frame: pl.DataFrame) -> pl.Series:
    if "amount" not in frame.columns:
        return pl.Series("amount", [None] * len(frame), pl.Float64)
    given = frame["amount"]
    number = given.cast(pl.Float64, strict=False)
    bad = given.is_not_null() & number.is_null()
    if bad.any():
        raise Invalid("amount", f"{_first(given, bad)} is not a number")
    return number.set(~number.is_finite().fill_null(value=True), None)


def _time(given: pl.Series) -> pl.Series:
    found = _parsed(given)
    bad = found.is_null()
    if bad.any():
        raise Invalid("ts", f"{_first(given, bad)} is not a time ({int(bad.sum())} rows)")
    return found


def _parsed(given: pl.Series) -> pl.Series:
    """The times as microseconds in UTC without a zone; null where there is none."""
    kind = given.dtype
    if isinstance(kind, pl.Datetime):
        zoned = given.dt.convert_time_zone("UTC") if kind.time_zone else given
        return zoned.dt.replace_time_zone(None).cast(pl.Datetime("us"))
    if kind == pl.Date:
        return given.cast(pl.Datetime("us"))
    if kind.is_integer() and given.is_between(*DATE_NUMBERS).all():
        given, kind = given.cast(pl.String), pl.String()
    if kind.is_numeric():
        return _epoch(given.cast(pl.Float64).fill_nan(None))
    if kind != pl.String:
        raise Invalid("ts", f"is a column of {kind}, not of times")
    text = given.str.strip_chars().str.replace(r"^(\d{4})/(\d\d?)/", "$1-$2-")
    text = text.str.replace(r"^(\S+) +(\d)", "${1}T$2").str.replace(r"[Zz]$", "+00:00")
    zoned = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False)
    found = zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    for form in TIME_FORMATS:
        if not found.null_count():
            break
        if "%H" in form:
            more = text.str.to_datetime(form, time_unit="us", strict=False)
        else:
            more = text.str.to_date(form, strict=False).cast(pl.Datetime("us"))
        found = found.zip_with(found.is_not_null(), more)
    seconds = text.cast(pl.Float64, strict=False)
    return found.zip_with(found.is_not_null(), _epoch(seconds))


def _epoch(number: pl.Series) -> pl.Series:
    """Numbers since 1970 in the unit that their size tells."""
    frame = pl.DataFrame({"n": number})
    seconds = pl.col("n")
    for least, unit in reversed(EPOCH_UNITS):
        per_s = {"ns": 1e9, "us": 1e6, "ms": 1e3}[unit]
        seconds = pl.when(pl.col("n").abs() >= least).then(pl.col("n") / per_s).otherwise(seconds)
    micros = (seconds * 1e6).round().cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
    return frame.select(micros.alias("ts"))["ts"]


def _first(given: pl.Series, bad: pl.Series) -> str:
    at = int(bad.arg_true()[0])
    return f"row {at + 1}: {given[at]!r}"


def _kinds(frame: pl.DataFrame) -> list[str]:
    return sorted(frame["event_type"].unique().to_list())


def _list(words: list[str]) -> str:
    return ", ".join(words[:NAMED_MAX]) + (", …" if len(words) > NAMED_MAX else "")
