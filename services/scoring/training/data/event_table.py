"""The event history that training learns from: every event of every customer as sorted columns.

Comes from a Parquet file or from the rows that scoring stored; both end in the columns that the
streaming kernel folds. It reads no labels and computes no features.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from services.scoring.core.features import contracts
from services.scoring.core.features.decode import FEEDBACK_WORDS, SCORED
from services.scoring.core.features.events import (
    CAMPAIGN_WORDS,
    CONTRACT_WORDS,
    DAY_S,
    LOYALTY_WORDS,
    EventColumns,
    Kind,
)
from services.scoring.core.features.interaction_kinds import class_of
from services.scoring.core.features.stable_hash import stable_hash
from shared.kernel.arrays import Flags, Floats
from shared.kernel.errors import Invalid

DATA_ENV = "EBBWATCH_DATA"
"""Environment variable with the folder of the evaluation sets, one sub-folder each."""
DATA_DEFAULT = Path(__file__).parents[4].parent / "shared" / "data"
"""Default folder of the evaluation sets, beside the repository."""
COLUMNS_REQUIRED = ("event_id", "customer_id", "ts", "event_type")
_NAMED: Final = {**CAMPAIGN_WORDS, **CONTRACT_WORDS, **FEEDBACK_WORDS, **LOYALTY_WORDS}
REFUND_TYPES = ("refund", "cancellation")
"""Event types of refunds: a cancelled order returns money, whatever sign the source gave it."""
SCORED_TYPES: Final = tuple(word for word, kind in FEEDBACK_WORDS.items() if kind in SCORED)
"""Event types that carry a score from 0 to 10."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Some events with the customers they belong to; `columns.row` is not read."""

    customers: Sequence[str]
    """Customer id of each event, length n."""
    columns: EventColumns


@dataclass(frozen=True, slots=True)
class EventTable:
    """All events, oldest first. `events.row` indexes `customers`."""

    customers: tuple[str, ...]
    events: EventColumns
    observed_until: float
    """Unix seconds, UTC: everything before it is known. No label window may end after it."""

    def between(self, start: float, end: float) -> EventColumns:
        """Return the events with start <= time < end (unix seconds), as views."""
        first, last = np.searchsorted(self.events.time, [start, end], side="left")
        names = [field.name for field in fields(EventColumns)]
        return EventColumns(*(getattr(self.events, name)[first:last] for name in names))

    def next_purchases(self, start: float, end: float) -> Floats:
        """Return each customer's first purchase time in [start, end): float64[customers].

        Unix seconds; +inf without one.
        """
        window = self.between(start, end)
        bought = window.kind == Kind.PURCHASE
        found = np.full(len(self.customers), np.inf)
        # The last of several assignments to one index stays: in reverse order, the earliest.
        found[window.row[bought][::-1]] = window.time[bought][::-1]
        return found

    def first_purchases(self) -> Floats:
        """Return each customer's first purchase time, unix seconds; +inf without one."""
        first = np.full(len(self.customers), np.inf)
        purchase = self.events.kind == Kind.PURCHASE
        np.minimum.at(first, self.events.row[purchase], self.events.time[purchase])
        return first

    def contract_ends(self, start: float, end: float) -> Flags:
        """Return bool[customers]: a contract ended in [start, end) and none was activated again."""
        return contracts.ends(self.between(start, end), len(self.customers))

    def tables(self) -> "Iterator[EventTable]":
        """Yield this table, which is in memory as a whole."""
        yield self

    def fingerprint(self, until: float) -> str:
        """Return 16 hex digits over ids and all columns before `until`.

        They identify the data that a model saw.
        """
        return f"{mark(self, until):016x}"


def has_contracts(table: EventTable) -> bool:
    """Return whether any contract was ever activated."""
    return bool(np.any(table.events.kind == Kind.CONTRACT_ACTIVATED))


def mark(table: EventTable, until: float) -> int:
    """Return 64 bits over the events before `until`, each with its customer.

    A sum modulo 2^64, so neither order nor how a history is cut into tables matters.
    """
    seen = table.between(-np.inf, until)
    who = np.fromiter(map(stable_hash, table.customers), np.uint64, len(table.customers))
    bits = who[seen.row]
    for name in EventColumns.__slots__:
        if name != "row":
            column = np.ascontiguousarray(getattr(seen, name))
            wide = column.view(np.uint64) if column.itemsize == 8 else column.astype(np.uint64)  # noqa: PLR2004
            bits = mixed(bits ^ wide)
    return int(bits.sum(dtype=np.uint64))


def mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64 bits well: the finaliser of splitmix64 (Steele et al. 2014)."""
    z = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def sorted_events(events: EventColumns) -> EventColumns:
    """Sort by time, then by key: an order that does not depend on that of arrival."""
    return events.select(np.lexsort((events.key, events.time)))


def from_columns(batches: Iterable[EventBatch], observed_until: float | None = None) -> EventTable:
    """Join batches into one table; customers are numbered in the order of their ids.

    `observed_until` (unix seconds) defaults to the end of the last complete day. Raises
    Invalid when there is no event at all.
    """
    parts = list(batches)
    customers = sorted({customer for batch in parts for customer in batch.customers})
    if not customers:
        raise Invalid("events", "there are none: nothing can be learned from an empty history")
    index = {customer: at for at, customer in enumerate(customers)}
    row = np.array([index[c] for batch in parts for c in batch.customers], dtype=np.int64)
    columns = {
        field.name: np.concatenate([getattr(b.columns, field.name) for b in parts])
        for field in fields(EventColumns)
        if field.name != "row"
    }
    events = sorted_events(EventColumns(row=row, **columns))
    end = last_complete_day(events.time) if observed_until is None else observed_until
    return EventTable(customers=tuple(customers), events=events, observed_until=end)


def from_parquet(path: Path) -> EventTable:
    """Read one event file: `event_id, customer_id, ts` (no zone: UTC)`, event_type`, `amount`.

    `purchase` is a purchase, `refund` and `cancellation` are refunds, what `CAMPAIGN_WORDS`
    names belongs to marketing, `CONTRACT_WORDS` are contracts, every other type is an
    interaction. A negative purchase amount is treated as unknown. Raises Invalid naming the column
    that is missing or empty.
    """
    present = pl.read_parquet_schema(path)
    for name in COLUMNS_REQUIRED:
        if name not in present:
            raise Invalid(name, f"column missing in {path.name}")
    columns = [*COLUMNS_REQUIRED, *(c for c in ("amount", "category") if c in present)]
    frame = pl.read_parquet(path, columns=columns)
    for name in COLUMNS_REQUIRED:
        if frame[name].null_count():
            raise Invalid(name, f"{frame[name].null_count()} rows of {path.name} have none")
    return from_frame(frame)


def from_frame(frame: pl.DataFrame) -> EventTable:
    """Build a table from a frame with COLUMNS_REQUIRED, none null.

    Optional columns: `amount` and `category`.
    """
    return from_columns([batch_of_frame(frame)])


def path_named(name: str) -> Path:
    """Return where the event file of an evaluation set is searched for."""
    return Path(os.environ.get(DATA_ENV) or DATA_DEFAULT) / name / "events.parquet"


def named(name: str) -> EventTable:
    """Load one of the evaluation sets (`cdnow`, `completejourney`, ...).

    Searched for in the folder that EBBWATCH_DATA names, else beside the repository. Raises Invalid
    when it is not there.
    """
    path = path_named(name)
    if not path.exists():
        raise Invalid(DATA_ENV, f"no {name}/events.parquet in {path.parent.parent}")
    return from_parquet(path)


def last_complete_day(times: Floats) -> float:
    """Return the midnight (UTC, unix seconds) that ends the last day known in full.

    If any time is not midnight, the day of the last event is taken to be incomplete; in a file that
    has dates only (every time is midnight) the last day is complete.
    """
    last_midnight = float(np.floor(times.max() / DAY_S) * DAY_S)
    dates_only = bool(np.all(times % DAY_S == 0.0))
    return last_midnight + DAY_S if dates_only else last_midnight


def batch_of_frame(frame: pl.DataFrame) -> EventBatch:
    """Convert a frame with COLUMNS_REQUIRED, none null, to a batch.

    Optional columns: `amount`, `category`, `score` (0-10, of SCORED_TYPES), and of loyalty events
    `points`, `points_balance` (Float64) and `points_expire_on` (Date).
    """
    kind = (
        pl.when(pl.col("event_type") == "purchase")
        .then(int(Kind.PURCHASE))
        .when(pl.col("event_type").is_in(REFUND_TYPES))
        .then(int(Kind.REFUND))
        .when(pl.col("event_type").is_in(list(_NAMED)))
        .then(
            pl.col("event_type").replace_strict(
                {word: int(kind) for word, kind in _NAMED.items()}, default=None
            )
        )
        .otherwise(int(Kind.INTERACTION))
    )
    micros = pl.col("ts").cast(pl.Datetime("us")).dt.epoch("us")
    out = frame.select(
        kind=kind.cast(pl.UInt8), time=micros.cast(pl.Float64) / 1e6, **_numbers(frame, kind)
    )
    words = frame["category"] if "category" in frame.columns else None
    columns = EventColumns(
        row=np.zeros(len(frame), dtype=np.int64),
        kind=out["kind"].to_numpy(),
        time=out["time"].to_numpy(),
        amount=out["amount"].to_numpy(),
        score=(
            frame["score"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            if "score" in frame.columns
            else np.full(len(frame), np.nan)
        ),
        key=_hashes(frame["event_id"].cast(pl.String).to_list()),
        category=(
            _hashes(words.cast(pl.String).to_list())
            if words is not None
            else np.zeros(len(frame), dtype=np.uint64)
        ),
        cost=out["cost"].to_numpy(),
        channel=_classes(frame["event_type"], out["kind"]),
        until=out["until"].to_numpy(),
    )
    return EventBatch(frame["customer_id"].cast(pl.String).to_list(), columns)


def _numbers(frame: pl.DataFrame, kind: pl.Expr) -> dict[str, pl.Expr]:
    """Return `amount`, `cost` and `until`, NaN where unknown: money, or points and their end."""

    def given(name: str, type_: type[pl.DataType] = pl.Float64) -> pl.Expr:
        column = pl.col(name) if name in frame.columns else pl.lit(None)
        return column.cast(type_)

    amount, points = given("amount"), given("points")
    money = (
        pl.when((kind == int(Kind.PURCHASE)) & (amount >= 0.0))
        .then(amount)
        .when(kind == int(Kind.REFUND))
        .then(amount.abs())
        .when(points >= 0.0)
        .then(points)
    )
    # Points expire with the end of their last day, as in the stream.
    last = given("points_expire_on", pl.Date).dt.epoch("d").cast(pl.Float64)
    found = {"amount": money, "cost": given("points_balance"), "until": (last + 1.0) * DAY_S}
    return {name: column.fill_null(float("nan")) for name, column in found.items()}


def _classes(words: pl.Series, kind: pl.Series) -> NDArray[np.uint8]:
    """Return the class of each interaction by its event type; 0 for other events."""
    found = pl.DataFrame({"word": words.cast(pl.String), "own": kind == int(Kind.INTERACTION)})
    named = found.filter("own")["word"].unique().to_list()
    number = {word: class_of(word) for word in named}
    by_word = pl.col("word").replace_strict(number, default=0, return_dtype=pl.UInt8)
    return (
        found.select(pl.when("own").then(by_word).otherwise(0).cast(pl.UInt8))
        .to_series()
        .to_numpy()
    )


def _hashes(words: Sequence[str | None]) -> NDArray[np.uint64]:
    """Return the kernel's stable hash of each word; 0 for none."""
    known: dict[str | None, int] = {w: stable_hash(w) for w in set(words) if w is not None}
    return np.fromiter((known.get(word, 0) for word in words), np.uint64, len(words))
