"""Judges from the data set alone whether silent customers were warned about in time.

Compares what the sample CRM received with the panel's purchases, by the definitions of
`deploy.backtest.judge`: a silence of an established household that reaches four of its usual gaps
(28 to 180 days) is a lapse, and a warning is in time up to three quarters of that length. The
services are not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from deploy.backtest.judge import Judged, JudgedWindow, Warnings, judged, silences
from services.scoring.core.features.events import DAY_S
from services.scoring.training.data.event_table import EventTable, from_frame
from shared.contracts.signs import SILENCE

MISSED_MAX: Final = 5
"""Missed households that are named."""


class ReceivedWarning(NamedTuple):
    """A warning about a customer, for one cause, at an instant of business time (UTC)."""

    customer: str
    at: datetime
    cause: str


class MissedLapse(NamedTuple):
    """A lapse that was not warned about in time."""

    customer: str
    silent_since: datetime
    spent: float
    """Spending in the quarter before."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The results of the warnings about silence."""

    judged: Judged
    every: Judged
    """The same for the warnings of all causes."""
    missed: Sequence[MissedLapse]
    """The missed lapses, highest spending first, at most `MISSED_MAX`."""
    missed_in_all: int


def judge(
    purchases: pl.DataFrame, warnings: Sequence[ReceivedWarning], begin: datetime, end: datetime
) -> Judgement:
    """Judges `warnings` by `purchases`; silences that begin in [begin, end) count.

    `purchases` has `customer` (text), `time` (UTC without a zone) and `amount`.
    """
    table = _table(purchases)
    window = JudgedWindow.of(silences(table), begin.timestamp(), end.timestamp())
    ours = _columns(table, [one for one in warnings if one.cause in SILENCE])
    timely = window.timely(window.warned_at(ours)[0])
    missed = window.counted.select(window.counted.lapse & ~timely)
    most = np.argsort(-missed.spent, kind="stable")[:MISSED_MAX].tolist()
    return Judgement(
        judged=judged(window, ours),
        every=judged(window, _columns(table, warnings)),
        missed=[
            MissedLapse(
                customer=table.customers[missed.row[at]],
                silent_since=datetime.fromtimestamp(missed.start[at] * DAY_S, UTC),
                spent=float(missed.spent[at]),
            )
            for at in most
        ],
        missed_in_all=len(missed),
    )


def _table(purchases: pl.DataFrame) -> EventTable:
    return from_frame(
        purchases.select(
            pl.arange(pl.len()).cast(pl.String).alias("event_id"),
            pl.col("customer").alias("customer_id"),
            pl.col("time").alias("ts"),
            pl.lit("purchase").alias("event_type"),
            pl.col("amount"),
        )
    )


def _columns(table: EventTable, warnings: Sequence[ReceivedWarning]) -> Warnings:
    return Warnings.of(table, ((one.customer, one.at) for one in warnings))
