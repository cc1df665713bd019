"""Parses times as people write them; the whole column decides the order of day and month.

Reads ISO 8601, dates with dashes, slashes or dots, Chinese dates, names of months and epoch numbers
of any unit. An ambiguous time is refused, and so are times that no shop can have meant: years of
two digits, day numbers of Excel, times before 1990 or after 2100.
"""

# ruff: noqa: PLR2004 (the numbers of calendar and clock need no names)
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from shared.event_files.faults import Faults, quoted
from shared.event_files.options import DateOrder
from shared.kernel.errors import Invalid

YEARS: Final = (1990, 2100)
"""First and last year of events; the stream begins in the same year."""
_BEGIN, _END = 631_152_000, 4_133_980_800
"""The bounds of YEARS as Unix seconds."""
AHEAD: Final = timedelta(days=1)
"""How far events may lie after now: a local time without a zone is up to 14 hours ahead."""
UNITS: Final = (1, 1_000, 1_000_000, 1_000_000_000)
"""Units per second in which epoch numbers count; within YEARS no number fits two of them."""
EXCEL: Final = (20_000, 80_000)
"""Excel's day numbers of the years 1954 to 2119."""
EXCEL_EPOCH_DAYS: Final = 25_569
"""Excel's day number of 1 January 1970."""

_ZONE: Final = r"\s*(?:[Zz]|UTC|GMT|([+-])(\d{2}):?(\d{2})?)?"
_TIME: Final = (
    r"(?:(?:日?[Tt\s]\s*|日)(上午|下午|中午|凌晨|晚上)?\s*(\d{1,2})[:时點点](\d{1,2})"
    r"(?:[:分](?:(\d{1,2})(?:[.,](\d{1,9}))?秒?)?)?\s*([AaPp])?\.?(?:[Mm]\.?)?" + _ZONE + r")?"
)
_DATE: Final = r"(\d{1,4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,4})"
_WHOLE: Final = rf"^{_DATE}{_TIME}日?$"
_GROUPS: Final = (
    "a", "b", "c", "half", "hour", "minute", "second", "fraction", "letter", "sign", "zh", "zm"
)  # fmt: skip
_LAST_YEAR: Final = r"^(\d{1,2})\s?[-/.]\s?(\d{1,2})\s?[-/.]\s?\d{4}(?:\D|$)"
_BARE: Final = (
    r"(?:^|[^\d:.+−-])\d{1,2}[:时]\d{2}(?:[:分]\d{2})?(?:[.,]\d+)?[秒分]?\s*"
    r"(?:[AaPp]\.?[Mm]\.?)?\s*$"
)
"""Matches texts that end with a time of day, which an offset (`+08:00`) is not."""
_ZONED: Final = r"(?i)\d\s?[:时點点]\s?\d.*(?:Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)$"
"""Matches texts with a time of day and a zone."""
_ISO: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
"""The forms that most files have, read without a regular expression."""
_MONTHS: Final = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]
_NAMED: Final = (
    (r"^(?:[A-Za-z]{3,9},?\s+)?(\d{1,2})(?:st|nd|rd|th)?[-\s/.]+([A-Za-z]{3,9})\.?[-\s/,]+(\d{4})",
     (2, 1, 0)),
    (r"^(?:[A-Za-z]{3,9},\s+)?([A-Za-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})",
     (2, 0, 1)),
)  # fmt: skip
"""`5 Mar 2024` and `March 5, 2024`, with the places of year, month and day."""


@dataclass(slots=True)
class Order:
    """What the dates read so far show about the order of day and month."""

    day: int | None = None
    """A row where the first number can only be a day."""
    month: int | None = None
    """A row where the second number can only be a day."""
    unclear: tuple[int, str] | None = None
    """A row, and its text, that can be read both ways."""
    without_zone: bool = False
    """Whether there is a time of day without a zone."""

    def see(self, given: pl.Series, row: pl.Series) -> None:
        """Read a part of the column with the numbers of its rows."""
        kind = given.dtype
        if isinstance(kind, pl.Datetime):
            self.without_zone |= kind.time_zone is None
        if kind != pl.String:
            return
        self.without_zone = self.without_zone or bool(given.str.contains(_BARE).any())
        parts = pl.col("text").str.extract_groups(_LAST_YEAR)
        found = (
            pl.DataFrame({"text": given.str.strip_chars(), "row": row})
            .filter(pl.col("text").str.contains(_LAST_YEAR))
            .with_columns(a=parts.struct["1"].cast(pl.Int64), b=parts.struct["2"].cast(pl.Int64))
        )
        most = 12
        self.day = self.day or _first_row(found.filter(pl.col("a") > most))
        self.month = self.month or _first_row(found.filter(pl.col("b") > most))
        both = found.filter(
            (pl.col("a") <= most) & (pl.col("b") <= most), pl.col("a") != pl.col("b")
        )
        if self.unclear is None and len(both):
            self.unclear = (int(both["row"][0]), str(both["text"][0]))

    def decided(self, given: DateOrder | None) -> DateOrder | None:
        """Return the order; None when no date depends on it. Raises Invalid naming rows."""
        if given is not None:
            return given
        if self.day and self.month:
            raise Invalid(
                "ts", f"in row {self.day} the day comes first, in row {self.month} the month: the "
                "dates must have one order"
            )  # fmt: skip
        if self.day or self.month:
            return "day" if self.day else "month"
        if self.unclear is not None:
            row, text = self.unclear
            raise Invalid(
                "ts", f"row {row}: {text!r} may begin with the day or the month, and no other date "
                "decides it: say --day-first or --month-first"
            )  # fmt: skip
        return None


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known about the times of a file once the whole column was seen."""

    order: DateOrder | None = None
    now: datetime | None = None
    """Times later than AHEAD after it are faulty; None: no time is too late."""
    zone: ZoneInfo | None = None
    """The zone of times without one; None: UTC."""
    serial: bool = False
    """Whether numbers are day numbers of Excel, as in the cells of a spreadsheet."""


def instants(
    given: pl.Series, row: pl.Series, reading: Reading, faults: Faults, role: str = "ts"
) -> pl.Series:
    """Parse to Datetime[us] in UTC without a zone; null where `faults` saw no time."""
    found = _parsed(given, reading.order)
    if reading.serial and given.dtype == pl.String and found.null_count():
        found = found.zip_with(found.is_not_null(), _serial(given))
    if reading.zone is not None:
        found = found.zip_with(_zoned(given), _in_zone(found, reading.zone))
    years = found.dt.year()
    bad = found.is_null() | ~years.is_between(*YEARS)
    faults.see(role, bad, row, lambda at: f": {_wrong(given[at], found[at])}")
    now = reading.now
    if now is not None:
        late = found > (now + AHEAD).astimezone(UTC).replace(tzinfo=None)
        late = late.fill_null(value=False)
        faults.see(
            role, late, row,
            lambda at: f": {quoted(given[at])} is still to come (now it is {now:%Y-%m-%d}): one "
            "such date makes all customers look silent; mend it, or leave the row out",
        )  # fmt: skip
        bad |= late
    return found.set(bad, None)


def _serial(text: pl.Series) -> pl.Series:
    """Parse day numbers of Excel, with the time of day as a fraction, to the second."""
    number = text.str.strip_chars().cast(pl.Float64, strict=False)
    seconds = (number * 86_400).round() - EXCEL_EPOCH_DAYS * 86_400
    within = number.is_between(*EXCEL).fill_null(value=False)
    micros = seconds.cast(pl.Int64, strict=False) * 1_000_000
    return micros.set(~within, None).cast(pl.Datetime("us"))


def _zoned(given: pl.Series) -> pl.Series:
    """Return where a time is an instant by itself: with a zone, or a number since 1970."""
    if isinstance(given.dtype, pl.Datetime):
        return pl.Series([given.dtype.time_zone is not None]).new_from_index(0, len(given))
    if given.dtype == pl.Date:
        return pl.Series([False]).new_from_index(0, len(given))
    text = given if given.dtype == pl.String else _digits(given.cast(pl.Float64))
    frame = pl.DataFrame({"t": text.str.strip_chars()})
    zoned = pl.col("t").str.contains(_ZONED) | _epoch(pl.col("t")).is_not_null()
    return frame.select(zoned.fill_null(value=False))["t"]


def _in_zone(found: pl.Series, zone: ZoneInfo) -> pl.Series:
    """Read times as those of a zone; of a repeated hour the first, of a skipped one the next."""

    def moved(times: pl.Series) -> pl.Series:
        at = times.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")
        return at.dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    there = moved(found)
    if there.null_count() == found.null_count():
        return there
    return there.zip_with(there.is_not_null(), moved(found.dt.offset_by("1h")))


def _parsed(given: pl.Series, order: DateOrder | None) -> pl.Series:
    kind = given.dtype
    if isinstance(kind, pl.Datetime):
        zoned = given.dt.convert_time_zone("UTC") if kind.time_zone else given
        return zoned.dt.replace_time_zone(None).cast(pl.Datetime("us"))
    if kind == pl.Date:
        return given.cast(pl.Datetime("us"))
    if kind.is_integer():
        return _numbers(given.cast(pl.String))
    if kind.is_numeric():
        return _numbers(_digits(given.cast(pl.Float64)))
    if kind == pl.Null:
        return given.cast(pl.Datetime("us"))
    if kind != pl.String:
        raise Invalid("ts", f"is a column of {kind}, not of times")
    text = given.str.strip_chars()
    found = pl.Series([None], dtype=pl.Datetime("us")).new_from_index(0, len(text))
    for form in _ISO:
        if not found.null_count():
            return found
        more = text.str.to_datetime(form, time_unit="us", strict=False)
        found = found.zip_with(found.is_not_null(), more)
    for read in (lambda rest: _written(_unnamed(rest), order), _numbers):
        if not found.null_count():
            break
        gaps = found.is_null()
        found = found.scatter(gaps.arg_true(), read(text.filter(gaps)))
    return found


def _written(text: pl.Series, order: DateOrder | None) -> pl.Series:
    """Parse dates of any order, with or without a time of day and a zone."""
    at = pl.col("at").struct
    number = {
        name: at[name].cast(pl.Int64, strict=False)
        for name in ("a", "b", "c", "hour", "minute", "second", "zh", "zm")
    }
    year_first = at["a"].str.len_chars() == 4
    year_last = (at["a"].str.len_chars() <= 2) & (at["c"].str.len_chars() == 4)
    year_first &= at["c"].str.len_chars() <= 2
    day, month = ("b", "a") if order == "month" else ("a", "b")
    year_last &= pl.lit(order is not None) | (number["a"] == number["b"])

    def pick(first: str, last: str) -> pl.Expr:
        return pl.when(year_first).then(number[first]).when(year_last).then(number[last])

    afternoon = at["letter"].str.to_lowercase().eq("p") | at["half"].is_in(["下午", "晚上"])
    morning = at["letter"].str.to_lowercase().eq("a") | at["half"].is_in(["上午", "凌晨"])
    afternoon, morning = afternoon.fill_null(value=False), morning.fill_null(value=False)
    hour = number["hour"].fill_null(0)
    hour = pl.when(afternoon & (hour < 12)).then(hour + 12).otherwise(hour)
    hour = pl.when(morning & (hour == 12)).then(0).otherwise(hour)
    micros = at["fraction"].fill_null("").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    offset = number["zh"].fill_null(0) * 60 + number["zm"].fill_null(0)
    parts = pl.DataFrame({"text": text}).select(
        at=pl.col("text").str.extract_groups(_WHOLE).struct.rename_fields(list(_GROUPS))
    ).select(
        year=pick("a", "c"), month=pick("b", month), day=pick("c", day),
        hour=hour, minute=number["minute"].fill_null(0), second=number["second"].fill_null(0),
        micros=micros, offset=pl.when(at["sign"] == "-").then(-offset).otherwise(offset),
        far=offset > 15 * 60,
    )  # fmt: skip
    return _joined(parts)


def _joined(parts: pl.DataFrame) -> pl.Series:
    """Compute instants from columns of numbers; null where there is no such day or time."""
    year, month, day = pl.col("year"), pl.col("month"), pl.col("day")
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    last = pl.when(month == 2).then(28 + leap.cast(pl.Int64)).when(
        month.is_in([4, 6, 9, 11])
    ).then(30).otherwise(31)  # fmt: skip
    right = (
        year.is_between(1, 9_998) & month.is_between(1, 12) & day.is_between(1, last)
        & (pl.col("hour") < 24) & (pl.col("minute") < 60) & (pl.col("second") < 60)
        & ~pl.col("far")
    )  # fmt: skip
    # Polars raises for a day that does not exist, but not where the year is null.
    known = pl.when(right).then(year)
    local = pl.datetime(known, month, day, "hour", "minute", "second", "micros")
    return parts.select(at=local - pl.duration(minutes="offset"))["at"]


def _unnamed(text: pl.Series) -> pl.Series:
    """Rewrite dates with the name of the month as year-month-day."""
    if not text.str.contains(r"[B-DF-Zb-df-z]").any():
        return text
    for pattern, (year, month, day) in _NAMED:
        groups = pl.col("t").str.extract_groups(pattern).struct
        names = groups[str(month + 1)].str.to_lowercase().str.slice(0, 3)
        number = names.replace_strict(
            {name: f"{at:02}" for at, name in enumerate(_MONTHS, 1)}, default=None
        )
        rest = pl.col("t").str.replace(pattern, "")
        date = pl.concat_str(groups[str(year + 1)], number, groups[str(day + 1)], separator="-")
        text = pl.DataFrame({"t": text}).select(pl.coalesce(date + rest, pl.col("t")).alias("t"))[
            "t"
        ]
    return text


def _numbers(text: pl.Series) -> pl.Series:
    """Parse epoch numbers, with the unit decided by their size, and dates written without marks."""
    t = pl.col("t")
    marks = t.str.extract(r"^(\d{8}|\d{12}|\d{14})(?:\.0*)?$")
    dashed = marks.str.slice(0, 8) + marks.str.slice(8).str.pad_end(6, "0")
    stamp = dashed.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False)
    return pl.DataFrame({"t": text}).select(pl.coalesce(_epoch(t), stamp).alias("t"))["t"]


def _epoch(t: pl.Expr) -> pl.Expr:
    """Parse numbers since 1970, with the unit decided by their size; null for other texts."""
    whole = t.str.extract(r"^(\d+)(?:\.\d*)?$").cast(pl.Int64, strict=False)
    fraction = t.str.extract(r"^\d+\.(\d+)$").fill_null("").str.pad_end(6, "0").str.slice(0, 6)
    found = pl.lit(None, pl.Int64)
    for unit in UNITS:
        if unit == 1:
            micros = whole * 1_000_000 + fraction.cast(pl.Int64, strict=False)
        else:
            micros = (
                whole * (1_000_000 // unit) if unit <= 1_000_000 else whole // (unit // 1_000_000)
            )
        within = (whole >= _BEGIN * unit) & (whole < _END * unit)
        found = pl.when(within).then(micros).otherwise(found)
    return found.cast(pl.Datetime("us"))


def _digits(number: pl.Series) -> pl.Series:
    """Convert floats to text without an exponent; whole ones exactly."""
    whole = pl.col("n").cast(pl.Int64, strict=False)
    text = pl.col("n").fill_nan(None).cast(pl.Decimal(38, 6), strict=False).cast(pl.String)
    exact = pl.when(whole == pl.col("n")).then(whole.cast(pl.String)).otherwise(text)
    return number.to_frame("n").select(exact.alias("n"))["n"]


def _wrong(given: object, found: object) -> str:
    """Explain why a value is not a time."""
    if given is None:
        return "there is none"
    text = str(given).strip()
    shown = quoted(text)
    if found is not None:
        return f"{shown} lies outside the years {YEARS[0]} to {YEARS[1]}"
    if re.match(r"^\d{1,2}[-/.]\d{1,2}[-/.]\d{2}(\D|$)", text):
        return f"{shown} has a year of two digits: write four"
    if re.match(r"^\d{5}(\.\d+)?$", text) and EXCEL[0] <= float(text) <= EXCEL[1]:
        return f"{shown} looks like a day number of Excel: format the column as dates, save again"
    if re.match(r"^-?\d+(\.\d+)?$", text):
        return f"{shown} is no time of the years {YEARS[0]} to {YEARS[1]} in any unit"
    return f"{shown} is not a time"


def _first_row(frame: pl.DataFrame) -> int | None:
    return int(frame["row"][0]) if len(frame) else None
