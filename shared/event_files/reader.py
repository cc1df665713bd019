"""Reads event files of any company and size: lenient about format, strict about meaning.

The only reader of `evaluate`, `train --events`, the backtest and `import`. It reads a file twice:
first to decide what needs a whole column (the encoding, the order of day and month, the decimal
mark), then part by part, so that memory is bounded. Rows without a customer are left out and
counted; a value with no meaning, or with two, raises Invalid, which names column and row. An import
leaves faulty rows out instead (`Rejects`).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from shared.contracts.customers import is_customer
from shared.event_files.amounts import CURRENCIES, ISO, Style, numbers
from shared.event_files.distinct import SEED, Distinct
from shared.event_files.faults import Faults, FirstFault, Rejects
from shared.event_files.headers import POINTS, columns_of
from shared.event_files.options import Assumption, Read, ReadOptions
from shared.event_files.points import with_points
from shared.event_files.repeats import (
    CONTENT,
    REASON,
    Counts,
    numbered,
    settled,
)
from shared.event_files.sources import ROW, opened
from shared.event_files.times import Order, Reading, instants
from shared.event_files.words import PURCHASE, REFUND, SCORED, meaning
from shared.kernel.errors import Invalid

BATCH_ROWS: Final = 250_000
"""Events per batch: about 60 MB as columns."""
SCORE_MAX: Final = 10.0
"""Surveys are answered from 0 to 10, as in the stream."""
NOTHING: Final = (
    "", "-", "--", "NA", "N/A", "#N/A", "n/a", "NaN", "nan", "NULL", "Null", "null", "None", "none",
    "\\N", "(null)", "undefined", "[object Object]",
)  # fmt: skip
"""Texts that exports and broken programs write where there is no value."""
_FORMULA: Final = r'^="(.*)"$'
"""The form in which exports write an id so that a spreadsheet does not read it as a number."""
_CUSTOMER: Final = " customer"
_ROLES: Final = (
    "customer_id", "event_id", "event_type", "ts", "amount", "currency", "category", "score"
)  # fmt: skip
Watch = Callable[[int], None]
"""Called with the number of rows read so far, of `rows` times two: each pass reads all."""


class EventFile:
    """A file after the first pass: its columns and styles are decided.

    `frames` yields the events; after it, `read` returns the complete report.
    """

    def __init__(
        self,
        path: Path,
        options: ReadOptions | None = None,
        folder: Path | None = None,
        rejects: Rejects | None = None,
        watch: Watch = lambda _: None,
    ) -> None:
        """Decide columns and styles. Raises Invalid naming what cannot be decided.

        `folder`: where rows of large files are spooled (None: the system's). `rejects` receives
        the faulty rows, of which the first one raises Invalid otherwise. `watch` is called with
        the number of rows read, in each pass.
        """
        self._path = path
        self._rejects = rejects
        self._watch = watch
        self.rows = 0
        """Rows of the file without empty ones, known after the first pass; 0 where unknown."""
        self._options = options or ReadOptions()
        self._folder = folder
        self._source = opened(path, self._options, folder)
        self._columns = columns_of(self._source.headers, path.name, self._options.columns)
        money = ("amount", "unit_price")
        self._money = next((role for role in money if role in self._columns), None)
        order, style = Order(), Style()
        self._look_through(order, style)
        self._times = Reading(
            order.decided(self._options.date_order), self._options.now, self._options.zone,
            serial=self._source.format == "sheet",
        )  # fmt: skip
        self._decimal = style.decided(self._options.decimal)
        self._currencies: set[str] = set()
        self._read = self._report(style, without_zone=order.without_zone)
        self._tally = _Tally()

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the events in parts of at most BATCH_ROWS, each event once, in no order.

        Columns: `customer_id, event_id, event_type` (text), `ts` (Datetime[us], UTC), `amount`
        and `score` (Float64, null where unknown), `currency` and `category` (text or null), ROW.
        Where the file has one of them: `points`, `points_balance` (Float64) and `points_expire_on`
        (Date), null on all rows but loyalty events.
        Raises Invalid naming column and row.
        """
        counts, tally = Counts(rejects=self._rejects), _Tally()
        rows = self._rows(tally)
        if "event_id" in self._columns:
            lines = self._options.lines_of_one_order
            rows = settled(rows, counts, self._folder, lines=lines)
        elif self._rejects is not None:
            rows = numbered(rows, self._folder)
        for frame in rows:
            events = self._typed(frame)
            tally.see(events)
            yield from events.iter_slices(BATCH_ROWS)
        tally.repeated, tally.joined = counts.repeated, counts.joined
        self._tally = tally

    def read(self) -> Read:
        """Return how the file was read, with the counts of the last completed run of `frames`."""
        tally = self._tally
        assumed = list(self._read.assumed)
        if "event_type" not in self._columns:
            assumed.insert(
                0,
                "all_purchases"
                if tally.events and REFUND not in tally.types
                else "negative_is_refund",
            )
        return replace(
            self._read,
            assumed=assumed,
            rows=tally.rows,
            without_customer=tally.without_customer,
            repeated=tally.repeated,
            joined=tally.joined,
            events=tally.events,
            customers=len(tally.customers),
            purchases=tally.purchases,
            amounts_known=tally.known / max(tally.purchases, 1),
            first=tally.first,
            last=tally.last,
        )

    @property
    def headers(self) -> list[str]:
        """Return the columns by the file's own names."""
        return list(self._source.headers)

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the rows as the file has them: its own columns, and ROW."""
        yield from self._source.parts()

    def _look_through(self, order: Order, style: Style) -> None:
        """Run the first pass: learn the style of dates and amounts, where they are text."""
        wanted = ["customer_id", "ts", *([self._money] if self._money else [])]
        headers = list(dict.fromkeys(self._columns[role] for role in wanted))
        for part in self._source.parts(headers):
            known = part.filter(self._text("customer_id", part).is_not_null())
            for role, seen in (("ts", order), (self._money, style)):
                if role is not None:
                    values = known.select(self._value(role, part))[role]
                    seen.see(values, known[ROW])
            texts = any(part.schema[header] == pl.String for header in headers[1:])
            self.rows += len(part)
            self._watch(self.rows)
            if self._source.format == "parquet" and not texts:
                self.rows = 0
                return

    def _rows(self, tally: "_Tally") -> Iterator[pl.DataFrame]:
        """Yield the rows that have a customer, as the reader's columns."""
        for part in self._source.parts():
            tally.rows += len(part)
            customer = self._text("customer_id", part).alias(_CUSTOMER)
            known = _of_customers(part.with_columns(customer))
            tally.without_customer += len(part) - len(known)
            self._watch(tally.rows)
            if len(known):
                yield self._brought(known)

    def _brought(self, part: pl.DataFrame) -> pl.DataFrame:
        roles = [role for role in self._columns if role != "customer_id"]
        raw = part.select(ROW, *(self._value(role, part) for role in roles))
        row = raw[ROW]
        rejects = None if self._rejects is None else Rejects(self._path.name)
        faults: Faults = rejects or FirstFault()
        columns = {"ts": instants(raw["ts"], row, self._times, faults)}
        for role in ("amount", "quantity", "unit_price", "score"):
            if role in raw.columns:
                columns[role] = numbers(raw[role], row, self._decimal, role, faults)
        if "amount" not in columns and "quantity" in columns:
            columns["amount"] = columns["quantity"] * columns["unit_price"]
        kinds, ids = pl.lit(PURCHASE), (pl.col(ROW) - 1).cast(pl.String)
        if "event_type" in self._columns:
            _complete(raw["event_type"], row, "event_type", faults)
            kinds = meaning(pl.col("event_type"))
        if "event_id" in self._columns:
            _complete(raw["event_id"], row, "event_id", faults)
            ids = pl.col("event_id")
        if "currency" in self._columns:
            columns["currency"] = self._one_currency(raw["currency"])
        empty = {"amount": pl.Float64, "currency": pl.String, "category": pl.String,
                 "score": pl.Float64}  # fmt: skip
        brought = raw.with_columns(
            **columns,
            **{
                r: pl.lit(None, kind)
                for r, kind in empty.items()
                if r not in {*columns, *raw.columns}
            },
            event_type=kinds,
            event_id=ids,
            customer_id=part[_CUSTOMER],
        ).select(*_ROLES, ROW, self._content(part).alias(CONTENT))
        brought = _scored(brought, faults)
        if not self._columns.keys().isdisjoint(POINTS):
            brought = with_points(brought, raw, row, (self._times, self._decimal), faults)
        return brought if rejects is None else self._without(rejects, brought)

    def _without(self, rejects: Rejects, brought: pl.DataFrame) -> pl.DataFrame:
        """Leave the faulty rows out; those of orders stay, marked, so that their lines follow."""
        assert self._rejects is not None  # noqa: S101 (its caller checked)
        rows = pl.Series(list(rejects.reasons), dtype=pl.Int64)
        faulty = pl.col(ROW).is_in(rows.implode())
        if not (self._options.lines_of_one_order and "event_id" in self._columns):
            self._rejects.add(rejects.reasons)
            return brought.filter(~faulty)
        nameless = set(brought.filter(faulty, pl.col("event_id").is_null())[ROW])
        self._rejects.add({row: rejects.reasons[row] for row in nameless})
        reason = pl.col(ROW).replace_strict(rejects.reasons, default=None, return_dtype=pl.String)
        return brought.filter(pl.col("event_id").is_not_null()).with_columns(reason.alias(REASON))

    def _one_currency(self, given: pl.Series) -> pl.Series:
        """Return ISO codes; outside an import the amounts must have one currency."""
        code = given.str.to_uppercase()
        code = code.replace({mark: ISO.get(name, mark) for mark, name in CURRENCIES.items()})
        self._currencies |= set(code.drop_nulls().unique())
        if self._rejects is None and len(self._currencies) > 1:
            both = " and ".join(sorted(self._currencies)[:2])
            raise Invalid("currency", f"{both}: one currency is expected, their sum means nothing")
        return code

    def _content(self, part: pl.DataFrame) -> pl.Series:
        if "event_id" not in self._columns:
            return pl.Series([0], dtype=pl.UInt64).new_from_index(0, len(part))
        names = self._source.headers
        texts = [_as_text(part, name).fill_null("\0") for name in names]
        return part.select(pl.concat_str(texts, separator="\x1f").hash(SEED).alias("h"))["h"]

    def _typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Read negative amounts as refunds where the file has no column of types."""
        if "event_type" in self._columns:
            return frame
        back = pl.col("amount") < 0.0
        kind = pl.when(back).then(pl.lit(REFUND)).otherwise(pl.lit(PURCHASE))
        return frame.with_columns(event_type=kind)

    def _value(self, role: str, part: pl.DataFrame) -> pl.Expr:
        """Return the column unchanged if its type suits numbers or times, else as text."""
        if role in {"ts", "amount", "quantity", "unit_price", "score", *POINTS}:
            kind = part.schema[self._columns[role]]
            if kind not in {pl.String, pl.Categorical}:
                return pl.col(self._columns[role]).alias(role)
        return self._text(role, part)

    def _text(self, role: str, part: pl.DataFrame) -> pl.Expr:
        kind = part.schema[self._columns[role]]
        if kind.is_nested():
            raise Invalid(role, f"is a column of {kind}, not of single values")
        text = _as_text(part, self._columns[role]).str.strip_chars().str.strip_chars("\u200b\ufeff")
        text = text.str.replace(_FORMULA, "$1")
        return pl.when(~text.is_in(NOTHING)).then(text).alias(role)

    def _report(self, style: Style, *, without_zone: bool) -> Read:
        used = set(self._columns.values())
        assumed: list[Assumption] = []
        if "event_id" not in self._columns:
            assumed.append("rows_are_events")
        if self._money == "unit_price":
            assumed.append("amount_is_quantity_times_price")
        elif self._money is None:
            assumed.append("amount_missing")
        if without_zone and self._options.zone is None:
            assumed.append("times_are_utc")
        return Read(
            file=self._path.name,
            format=self._source.format,
            encoding=self._source.encoding,
            delimiter=self._source.delimiter,
            columns=dict(self._columns),
            unused=[header for header in self._source.headers if header not in used],
            date_order=self._times.order,
            decimal=self._decimal,
            currency=style.currency,
            zone=self._options.zone.key if self._options.zone else None,
            assumed=assumed,
        )


class _Tally:
    """Counts taken while the events are read."""

    def __init__(self) -> None:
        self.rows = self.without_customer = self.repeated = self.joined = 0
        self.events = self.purchases = self.known = 0
        self.types: set[str] = set()
        self.customers = Distinct()
        self.first: str | None = None
        self.last: str | None = None

    def see(self, events: pl.DataFrame) -> None:
        bought = events.filter(pl.col("event_type") == PURCHASE)
        self.events += len(events)
        self.purchases += len(bought)
        self.known += int((bought["amount"] >= 0.0).sum())
        self.types |= set(events["event_type"].unique())
        self.customers.add(events["customer_id"])
        times = events["ts"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        ends = [str(times.min()), str(times.max()), *filter(None, (self.first, self.last))]
        self.first, self.last = min(ends), max(ends)


def _of_customers(part: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows with a valid customer id, by the rule of the stream."""
    names = part[_CUSTOMER].drop_nulls().unique()
    none = [name for name in names if not is_customer(name)]
    return part.filter(pl.col(_CUSTOMER).is_not_null() & ~pl.col(_CUSTOMER).is_in(none))


def _as_text(part: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as text; whole numbers without decimals.

    Some exporters write an integer column with gaps as float: 17.0 is customer 17.
    """
    column, kind = pl.col(name), part.schema[name]
    if kind == pl.String:
        return column
    if kind.is_float():
        whole = column.cast(pl.Int64, strict=False)
        return pl.when(whole == column).then(whole.cast(pl.String)).otherwise(
            column.fill_nan(None).cast(pl.String)
        )  # fmt: skip
    if kind.is_nested():
        return column.hash(SEED).cast(pl.String)
    return column.cast(pl.String)


def _complete(values: pl.Series, row: pl.Series, role: str, faults: Faults) -> None:
    faults.see(role, values.is_null(), row, lambda _: " has none")


def _scored(frame: pl.DataFrame, faults: Faults) -> pl.DataFrame:
    """Keep scores of event types that carry one; they are from 0 to 10."""
    asked = pl.col("event_type").is_in(SCORED)
    frame = frame.with_columns(score=pl.when(asked).then("score"))
    odd = ~frame["score"].is_between(0.0, SCORE_MAX).fill_null(value=True)
    faults.see("score", odd, frame[ROW], lambda at: f": {frame['score'][at]:g} is not from 0 to 10")
    return frame
