"""Planted customers as the columns that training and the walk read, and as raw CloudEvents."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.training.data.event_table import EventBatch, EventTable, from_columns
from shared.contracts import events as types
from tests.field.lives import END, START, Happened
from tests.field.planted import Customer

SOURCE = "field-test"
FEEDBACK = {
    Kind.SURVEY: "survey",
    Kind.RECOMMENDATION: "recommendation",
    Kind.COMPLAINT_OPENED: "complaint_opened",
    Kind.COMPLAINT_CLOSED: "complaint_closed",
}
POINTS: dict[Kind, types.LoyaltyKind] = {
    Kind.POINTS_EARNED: "points_earned",
    Kind.POINTS_SPENT: "points_spent",
    Kind.POINTS_EXPIRING: "points_expiring",
}
Named = tuple[str, str, Happened]
"""Event id, customer, and what happened."""


def second(day: float) -> float:
    """Returns Unix seconds UTC of a day since `START`, whole."""
    return math.nan if math.isnan(day) else round(START.timestamp() + day * DAY_S)


def moment(day: float) -> datetime:
    """Returns a day since `START` as a time."""
    return START + timedelta(seconds=round(day * DAY_S))


def table(customers: Sequence[Customer]) -> EventTable:
    """Returns all of their events; everything before the end of the walk is known."""
    rows = [*_named(customers)]
    n = len(rows)
    happened = [one for *_, one in rows]
    columns = EventColumns(
        row=np.zeros(n, np.int64),
        kind=np.array([int(one.kind) for one in happened], np.uint8),
        time=np.array([second(one.day) for one in happened], np.float64),
        amount=np.array([one.amount for one in happened]),
        score=np.array([one.score for one in happened]),
        key=np.array([stable_hash(SOURCE, name) for name, *_ in rows], np.uint64),
        category=np.zeros(n, np.uint64),
        cost=np.array([one.balance for one in happened]),
        channel=np.zeros(n, np.uint8),
        until=np.array([second(one.expires + 1) for one in happened]),
    )
    return from_columns([EventBatch([who for _, who, _ in rows], columns)], second(END))


def cloud_events(customers: Sequence[Customer]) -> Iterator[tuple[datetime, bytes]]:
    """Yields all of their events as upstream systems publish them, in the order of time."""
    for name, who, one in sorted(_named(customers), key=lambda row: (row[2].day, row[0])):
        kind, data = _data(one)
        at = moment(one.day)
        event = {
            "specversion": "1.0",
            "id": name,
            "source": SOURCE,
            "type": kind,
            "subject": who,
            "time": at,
            "data": data,
        }
        yield at, msgspec.json.encode(event)


def _named(customers: Sequence[Customer]) -> Iterator[Named]:
    for customer in customers:
        for number, one in enumerate(customer.events):
            yield f"{customer.id}-{number}", customer.id, one


def _data(one: Happened) -> tuple[str, msgspec.Struct]:
    if one.kind == Kind.PURCHASE:
        return types.PURCHASE, types.Purchase(amount=f"{one.amount:.2f}", currency="USD")
    if one.kind == Kind.INTERACTION:
        return types.INTERACTION, types.Interaction(kind="page_viewed")
    if one.kind in POINTS:
        known = None if math.isnan(one.balance) else one.balance
        last = None if math.isnan(one.expires) else moment(one.expires).date()
        return types.LOYALTY, types.Loyalty(
            kind=POINTS[one.kind], points=one.amount, balance=known, expires_on=last
        )
    score = None if math.isnan(one.score) else one.score
    said = {"kind": FEEDBACK[one.kind], "score": score}
    return types.FEEDBACK, msgspec.convert(said, types.Feedback)
