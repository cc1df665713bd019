"""Options of the event file reader, and its report of what was assumed.

The arguments and the result of the reader; nothing is read here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from shared.kernel.errors import Invalid

Format = Literal["csv", "parquet", "jsonl", "sheet"]
DateOrder = Literal["day", "month"]
Decimal = Literal["dot", "comma"]
Assumption = Literal[
    "all_purchases",
    "negative_is_refund",
    "rows_are_events",
    "amount_is_quantity_times_price",
    "amount_missing",
    "times_are_utc",
]
UNUSED_SHOWN_MAX: Final = 12
"""Unused columns that a sentence names: enough to notice a column that should have been used."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a person decides; by default the file decides."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column of the reader (`ts`) -> its name in the file (`Bestelldatum`)."""
    date_order: DateOrder | None = None
    """Which comes first in dates like 03/04/2024; None: decided by the column."""
    decimal: Decimal | None = None
    """The mark before the cents; None: decided by the column."""
    encoding: str | None = None
    """A codec of Python; None: decided by the bytes."""
    lines_of_one_order: bool = False
    """Rows with one event id are lines of one order: amounts are added, the earliest time is kept.
    False: the same id with other content is refused."""
    now: datetime | None = None
    """Later events are refused; None: no time is too late."""
    zone: ZoneInfo | None = None
    """The zone of times without one; None: UTC, which the report then names as an assumption."""
    sheet: str | None = None
    """The sheet of a spreadsheet; None: the only one with rows."""


def column_of(text: str) -> tuple[str, str]:
    """Parse the argument of `--column ts=Bestelldatum` to a pair. Raises Invalid.

    >>> column_of("ts=Bestelldatum")
    ('ts', 'Bestelldatum')
    """
    name, sign, header = text.partition("=")
    if not (sign and name.strip() and header.strip()):
        raise Invalid("--column", f"is like ts=Bestelldatum, not {text!r}")
    return name.strip(), header.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """How a file was read, and what was left out."""

    file: str
    """The file's name, without folders."""
    format: Format
    encoding: str | None = None
    """None for Parquet, which has no encoding."""
    delimiter: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    """Column of the reader -> name in the file."""
    unused: list[str] = field(default_factory=list)
    """Columns of the file that were not used."""
    date_order: DateOrder | None = None
    """None: no date depends on the order."""
    decimal: Decimal | None = None
    """None: no amount depends on the decimal mark."""
    currency: str | None = None
    """The currency mark beside the amounts."""
    zone: str | None = None
    """The stated zone of times without one."""
    assumed: list[Assumption] = field(default_factory=list)
    rows: int = 0
    """Rows of the file, without empty lines."""
    without_customer: int = 0
    """Rows left out because they have no customer (guests)."""
    repeated: int = 0
    """Rows left out because they equal an earlier one of the same customer and event id."""
    joined: int = 0
    """Rows that were added to an earlier line of the same order."""
    events: int = 0
    customers: int = 0
    purchases: int = 0
    amounts_known: float = 0.0
    """Share of the purchases with an amount of at least 0."""
    first: str | None = None
    """Time of the oldest event, ISO 8601, UTC."""
    last: str | None = None

    def notes(self) -> dict[str, Any]:
        """Return the notes for the figures of an evaluation."""
        return {
            name: getattr(self, name)
            for name in ("rows", "without_customer", "repeated", "joined", "amounts_known",
                         "customers")
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """Yield sentences for a terminal: what was assumed, and what was left out."""
        found = ", ".join(f"{name} = {header}" for name, header in self.columns.items())
        yield f"{self.file}: {found}"
        if self.unused:
            more = ", …" if len(self.unused) > UNUSED_SHOWN_MAX else ""
            yield f"not used: {', '.join(self.unused[:UNUSED_SHOWN_MAX])}{more}"
        style = [self.encoding, self.delimiter and f"delimiter {self.delimiter!r}",
                 self.date_order and f"the {self.date_order} comes first in dates",
                 self.decimal and f"decimal {self.decimal}",
                 self.currency and f"amounts in {self.currency}",
                 self.zone and f"times without a zone are in {self.zone}"]  # fmt: skip
        if any(style):
            yield ", ".join(part for part in style if part)
        for code in self.assumed:
            yield ASSUMED[code]
        yield from self.counts()

    def counts(self) -> Iterator[str]:
        """Yield sentences about rows that were left out or joined."""
        for count, what in ((self.without_customer, "left out: no customer"),
                            (self.repeated, "left out: repeated as they are"),
                            (self.joined, "added to an earlier line of their order")):  # fmt: skip
            if count:
                yield f"{count:,} of {self.rows:,} rows {what}"


ASSUMED: Final[Mapping[Assumption, str]] = {
    "all_purchases": "no column of event types: every row is a purchase",
    "negative_is_refund": "no column of event types: every row is a purchase, a negative amount a "
    "refund",
    "rows_are_events": "no column of event ids: every row is an event of its own",
    "amount_is_quantity_times_price": "the amount is the quantity times the unit price",
    "amount_missing": "no column of amounts: spending is not known",
    "times_are_utc": "times without a zone are UTC",
}
