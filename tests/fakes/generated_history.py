"""A generated history of customers as activity records, and the states it must lead to.

The kernel folds the expected states at once from the same numbers, without any decoding,
deduplication, batching or storing in between.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.interaction_kinds import class_of
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.features.state import empty, from_bytes
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.contracts.events import Profile
from tests.fakes import activity
from tests.fakes.activity import SOURCE, day
from tests.unit.scoring.core.strategies import assert_states_equal

KINDS = (
    (Kind.PURCHASE, types.PURCHASE, None, 70),
    (Kind.REFUND, types.REFUND, None, 4),
    (Kind.INTERACTION, types.INTERACTION, "page_viewed", 14),
    (Kind.COMPLAINT_OPENED, types.FEEDBACK, "complaint_opened", 2),
    (Kind.COMPLAINT_CLOSED, types.FEEDBACK, "complaint_closed", 2),
    (Kind.SURVEY, types.FEEDBACK, "survey", 3),
    (Kind.RECOMMENDATION, types.FEEDBACK, "recommendation", 2),
    (Kind.SUGGESTION, types.FEEDBACK, "suggestion", 1),
    (None, types.PROFILE, None, 2),
    (Kind.POINTS_EARNED, types.LOYALTY, "points_earned", 3),
    (Kind.POINTS_SPENT, types.LOYALTY, "points_spent", 1),
    (Kind.POINTS_EXPIRING, types.LOYALTY, "points_expiring", 1),
    (Kind.LEVEL_LOWERED, types.LOYALTY, "level_lowered", 1),
    (Kind.REFERRAL, types.LOYALTY, "referral", 1),
)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of the history."""

    name: str
    customer: str
    time: datetime
    kind: Kind | None
    """None leaves the state unchanged (a profile)."""
    type: str
    data: ActivityData

    def value(self, backfill: str | None = None) -> bytes:
        """Encode as a record of the activity topic."""
        return activity.event(
            self.name, self.customer, self.time, kind=self.type, data=self.data, backfill=backfill
        )


def history(customers: int, days: float, seed: int) -> list[Happening]:
    """Generates events of every kind, in the order of their times, for so many days from `day(0)`.

    Customers differ in rhythm by a factor of forty; some come later, some leave halfway.
    """
    source = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    found: list[Happening] = []
    for number in range(customers):
        gap = math.exp(source.uniform(math.log(0.25), math.log(10)))
        at = source.uniform(0, days / 2)
        end = (at + days) / 2 if source.random() < 0.4 else days
        while at < end:
            found.append(_happening(source, f"c{number:03}", len(found), at))
            at += source.expovariate(1 / gap)
    return sorted(found, key=lambda h: h.time)


def _happening(source: random.Random, customer: str, number: int, at: float) -> Happening:
    weights = [weight for *_, weight in KINDS]
    kind, type_, word, _ = source.choices(KINDS, weights)[0]
    data = ActivityData(kind=word)
    if kind in {Kind.PURCHASE, Kind.REFUND} and source.random() < 0.9:
        data.amount = round(source.gammavariate(2, 20), 2)
    if kind in {Kind.SURVEY, Kind.RECOMMENDATION} and source.random() < 0.9:
        data.score = float(source.randrange(11))
    if word is not None and word.startswith("points_"):
        data.points, data.balance = float(source.randrange(900)), float(source.randrange(2_000))
    if kind == Kind.POINTS_EXPIRING:
        data.expires_on = (day(0) + timedelta(days=round(at) + source.randrange(60))).date()
    if kind is None:
        data.profile = Profile(name=f"name {number}")
    time = day(0) + timedelta(days=round(at, 6))
    return Happening(f"e{number}", customer, time, kind, type_, data)


def states(happenings: list[Happening]) -> dict[str, NDArray[np.void]]:
    """Returns the state of each customer after all of these, each counted once."""
    row = {name: n for n, name in enumerate(sorted({h.customer for h in happenings}))}
    seen = [h for h in happenings if h.kind is not None]
    known = numbers(seen)
    columns = EventColumns(
        row=np.array([row[h.customer] for h in seen], np.int64),
        kind=np.array([int(h.kind or 0) for h in seen], np.uint8),
        time=np.array([h.time.timestamp() for h in seen]),
        amount=known["amount"],
        cost=known["cost"],
        until=known["until"],
        score=np.array([math.nan if (s := h.data.score) is None else s for h in seen]),
        key=np.array([stable_hash(SOURCE, h.name) for h in seen], np.uint64),
        category=np.zeros(len(seen), np.uint64),
        channel=np.array([_class(h) for h in seen], np.uint8),
        source=np.full(len(seen), stable_hash(SOURCE), np.uint64),
    )
    folded = fold(empty(len(row)), columns)
    return {name: folded[n : n + 1] for name, n in row.items()}


def _class(happening: Happening) -> int:
    return class_of(happening.data.kind or "") if happening.kind == Kind.INTERACTION else 0


def numbers(happenings: Sequence[Happening]) -> dict[str, NDArray[np.float64]]:
    """Returns `amount`, `cost` and `until` of the kernel's columns: money, or points."""
    data = [h.data for h in happenings]
    return {
        "amount": np.array([_first(d.amount, d.points) for d in data]),
        "cost": np.array([_first(d.balance) for d in data]),
        "until": np.array([_end(d.expires_on) for d in data]),
    }


def _first(*known: float | None) -> float:
    return next((number for number in known if number is not None), math.nan)


def _end(last: date | None) -> float:
    """Return when a day is over, Unix seconds UTC."""
    if last is None:
        return math.nan
    midnight = datetime(last.year, last.month, last.day, tzinfo=UTC)
    return (midnight + timedelta(days=1)).timestamp()


def assert_stored(stored: dict[str, bytes], expected: dict[str, NDArray[np.void]]) -> None:
    """Asserts that the stored states are equal: sums to 1e-9 of themselves, everything else
    exactly."""
    assert sorted(stored) == sorted(expected)
    if stored:
        names = sorted(stored)
        assert_states_equal(
            from_bytes([stored[name] for name in names]),
            np.concatenate([expected[name] for name in names]),
        )
