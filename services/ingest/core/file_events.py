"""Turns rows that the reader of event files has read into the events of a raw topic.

An event's id depends on the row alone, so that sending a file twice, or a part of it again, changes
nothing. `ordinary` marks the events that `accept` is known to take; it decides on all others
itself, one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Final

import msgspec
import polars as pl

from services.ingest.core.rates import RateTable
from services.ingest.core.times import TIME_MIN
from shared.contracts.customers import NO_CUSTOMER
from shared.contracts.events import (
    BACKFILL_ENDED,
    CONTRACT,
    FEEDBACK,
    INTERACTION,
    LOYALTY,
    PURCHASE,
    REFUND,
    Contract,
    Feedback,
    Interaction,
    Item,
    Loyalty,
    Purchase,
    Refund,
)
from shared.event_files import words
from shared.event_files.headers import POINTS
from shared.event_files.repeats import OCCURRENCE, ROWS
from shared.event_files.sources import ROW
from shared.kernel.errors import Invalid

ID_BYTES: Final = 12
"""Bytes of the hash that is the id of a row without one: two of a billion rows never share it."""
AMOUNT_DECIMALS: Final = 6
"""Decimals of an amount: no currency has more than four, and a sum of floats has errors in the
tenth."""
AMOUNT_FITS: Final = 1e30
"""Larger amounts do not fit the 38 digits of Polars' decimals; `accept` refuses them."""
AMOUNT_MAX: Final = 1e12
"""Larger amounts are decided on one by one."""
_FEEDBACK: Final = frozenset(
    {"survey", "complaint_opened", "complaint_closed", "suggestion", "recommendation"}
)
_LOYALTY: Final[frozenset[str]] = frozenset(words.LOYALTY)
_CONTRACT: Final = {"contract_activated": "activated", "contract_ended": "ended"}
_PLAIN_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/@#-]{0,119}$"
_PLAIN_WORDS: Final = r"^[\p{L}\p{N}_ &/-]{1,60}$"
Data = Purchase | Refund | Interaction | Feedback | Contract | Loyalty


class RawEvent(msgspec.Struct, gc=False):
    """A CloudEvent in structured mode."""

    specversion: str
    type: str
    id: str
    source: str
    time: str
    subject: str
    data: Data


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An event of a file, ready to be sent."""

    rows: tuple[int, ...]
    """Numbers of its rows in the file."""
    customer: str
    value: bytes
    """The CloudEvent as JSON."""
    ordinary: bool
    """Whether `accept` is known to take it."""


NO_POINTS: Final = (None, None, None)
_ENCODER: Final = msgspec.json.Encoder()


def file_events(
    frame: pl.DataFrame, source: str, currency: str | None, rates: RateTable, now: datetime
) -> Iterator[FileEvent]:
    """Yield the events of a frame of `EventFile.frames`, in its order.

    `currency`: ISO 4217, of amounts in rows without one; None: the reporting currency. `now` (UTC):
    events until then are ordinary.
    """
    ids = frame["event_id"].to_list() if OCCURRENCE not in frame.columns else None
    occurrences = frame[OCCURRENCE].to_list() if ids is None else [0] * len(frame)
    rows = frame[ROWS].to_list() if ROWS in frame.columns else [(at,) for at in frame[ROW]]
    columns = frame.select(
        "customer_id", "event_type", "score", "category",
        ts=pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"),
        amount=_amounts(),
        currency=pl.when(pl.col("amount").is_not_null()).then(
            pl.col("currency").fill_null(pl.lit(currency, pl.String))
        ),
        plain=_ordinary(frame, currency, rates, now),
    )  # fmt: skip
    points = _points(frame)
    for at, row in enumerate(columns.iter_rows()):
        customer, word, score, category, time, amount, paid_in, plain = row
        if ids is None:
            content = (customer, word, time, amount, paid_in, category, score, *points.get(at, ()))
            own, order = _hashed(content, occurrences[at]), None
        else:
            own = order = ids[at]
            if word != words.PURCHASE:
                own = f"{own}/{word}"
        kind, data = _data(word, amount, paid_in, category, score, order)
        if word in _LOYALTY:
            kind, data = LOYALTY, _loyalty(word, *points.get(at, NO_POINTS))
        event = RawEvent("1.0", kind, own, source, time, customer, data)
        yield FileEvent(tuple(rows[at]), customer, _ENCODER.encode(event), plain)


def _points(frame: pl.DataFrame) -> dict[int, tuple[float | None, float | None, date | None]]:
    """Return points, balance and last day of the loyalty events, by their place in the frame."""
    if not set(POINTS) <= set(frame.columns):
        return {}
    loyal = frame["event_type"].is_in(words.LOYALTY).arg_true()
    return dict(zip(loyal, frame[loyal].select(POINTS).iter_rows(), strict=True))


def _loyalty(
    word: str, points: float | None, balance: float | None, expires_on: date | None
) -> Loyalty:
    # Only expiring points have a last day; exports repeat it on other rows.
    last = expires_on if word == "points_expiring" else None
    return Loyalty(kind=word, points=points, balance=balance, expires_on=last)  # type: ignore[arg-type]


def end_marker(name: str, source: str, now: datetime) -> bytes:
    """Return the event that ends the import `name`; `now` in UTC."""
    return _ENCODER.encode(
        {
            "specversion": "1.0",
            "type": BACKFILL_ENDED,
            "id": f"{name}/ended",
            "source": source,
            "time": now.astimezone(UTC),
        }
    )


def _amounts() -> pl.Expr:
    """Return amounts as decimal text: `12.5`, `-3`, null where unknown."""
    number = pl.col("amount").round(AMOUNT_DECIMALS)
    # Polars fails on what has more digits than the type, also where null is asked for.
    fits = pl.when(number.abs() < AMOUNT_FITS).then(number)
    text = fits.cast(pl.Decimal(38, AMOUNT_DECIMALS)).cast(pl.String)
    short = text.str.strip_chars_end("0").str.strip_chars_end(".")
    # What has more digits than a decimal text may have is left to `accept`, which refuses it.
    return pl.when(short.is_null() & number.is_not_null()).then(
        number.cast(pl.String)
    ).otherwise(short)  # fmt: skip


def _ordinary(
    frame: pl.DataFrame, currency: str | None, rates: RateTable, now: datetime
) -> pl.Series:
    """Return which events `accept` takes for certain: bool[n]."""
    first = frame["ts"].min()
    day = first if isinstance(first, datetime) else now
    codes = {currency, *frame["currency"].unique()} - {None}
    priced = [code for code in codes if code and has_rate(code, rates, day)]
    paid_in = pl.col("currency").fill_null(pl.lit(currency, pl.String))
    amount = pl.col("amount")
    money = amount.is_null() | (
        (amount.abs() < AMOUNT_MAX) & (paid_in.is_null() | paid_in.is_in(priced))
    )
    word = pl.col("event_type")
    special = [*_FEEDBACK, *_CONTRACT, *_LOYALTY]
    kind = (
        ((word == words.PURCHASE) & (amount.is_null() | (amount >= 0.0)))
        | (word == words.REFUND)
        | (word.str.contains(_PLAIN_ID) & (word.str.len_chars() <= 60) & ~word.is_in(special))  # noqa: PLR2004
    )
    category = pl.col("category").is_null() | pl.col("category").str.contains(_PLAIN_WORDS)
    within = pl.col("ts").is_between(
        TIME_MIN.replace(tzinfo=None), now.astimezone(UTC).replace(tzinfo=None)
    )
    customer = pl.col("customer_id")
    ids = customer.str.contains(_PLAIN_ID) & ~customer.str.to_lowercase().is_in([*NO_CUSTOMER])
    if OCCURRENCE not in frame.columns:
        ids &= pl.col("event_id").str.contains(_PLAIN_ID)
    # A refund's category is not sent, an interaction's amount neither.
    return frame.select((ids & within & kind & money & category).fill_null(value=False))[
        "customer_id"
    ]


def has_rate(code: str, rates: RateTable, day: datetime) -> bool:
    """Return whether the table has a rate of a currency on a day (UTC)."""
    try:
        rates.rate(code, day.date())
    except Invalid:
        return False
    return True


def _data(
    word: str,
    amount: str | None,
    currency: str | None,
    category: str | None,
    score: float | None,
    order: str | None,
) -> tuple[str, Data]:
    """Return the CloudEvents type and the data of an event."""
    if word == words.PURCHASE:
        items = [] if category is None else [Item(category=category)]
        return PURCHASE, Purchase(amount=amount, currency=currency, order_id=order, items=items)
    if word == words.REFUND:
        return REFUND, Refund(amount=amount, currency=currency, order_id=order)
    if word in _FEEDBACK:
        return FEEDBACK, Feedback(kind=word, score=score)  # type: ignore[arg-type]
    if word in _CONTRACT:
        return CONTRACT, Contract(kind=_CONTRACT[word])  # type: ignore[arg-type]
    return INTERACTION, Interaction(kind=word, category=category)


def _hashed(content: tuple[object, ...], occurrence: int) -> str:
    text = "\x1f".join("" if part is None else str(part) for part in content)
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=ID_BYTES)
    return f"{digest.hexdigest()}-{occurrence}"
