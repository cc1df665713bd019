"""Customers' behaviour, day by day: the building blocks of planted lives.

Days are counted from `START`, as fractions; 0.5 is noon UTC. Each customer has a generator of
random numbers, so that each life is the same however many others are made.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np

from services.scoring.core.features.events import Kind

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
BEGIN: Final = 730.0
"""Day on which the walk begins: two years of history lie before it."""
END: Final = 1_000.0
"""Day on which the walk ends."""
STEADY: Final = 0.25
"""Variation (deviation / mean) of the gaps of a steady buyer."""
IRREGULAR: Final = 0.7
"""Variation of the gaps of an irregular buyer."""
PRICE_SPREAD: Final = 0.3
"""Deviation of the logarithm of a customer's order values."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a customer."""

    day: float
    kind: Kind
    amount: float = math.nan
    score: float = math.nan
    balance: float = math.nan
    """Loyalty points in the account; those of the event itself are its `amount`."""
    expires: float = math.nan
    """The last day, whole, on which expiring points can be spent."""


@dataclass(slots=True)
class Life:
    """Makes the events of one customer."""

    random: np.random.Generator
    events: list[Happened] = field(default_factory=list)
    price: float = 0.0
    """Usual order value, reporting currency."""

    def __post_init__(self) -> None:
        self.price = float(self.random.lognormal(math.log(40.0), 0.8))

    def between(self, low: float, high: float) -> float:
        """Return a number from [low, high)."""
        return float(self.random.uniform(low, high))

    def gap(self, mean: float, variation: float) -> float:
        """Return the days to the next event, gamma-distributed."""
        shape = variation**-2
        return float(self.random.gamma(shape, mean / shape))

    def buy(self, day: float, level: float = 1.0) -> float:
        """Add an order at `level` times the usual value; returns its day."""
        amount = level * self.price * float(self.random.lognormal(0.0, PRICE_SPREAD))
        self.events.append(Happened(day, Kind.PURCHASE, amount=round(amount, 2)))
        return day

    def buys(
        self, day: float, until: float, mean: float, variation: float = STEADY, level: float = 1.0
    ) -> float:
        """Add orders from `day` on and before `until`; returns the day of the last."""
        last = self.buy(day, level)
        while (day := last + self.gap(mean, variation)) < until:
            last = self.buy(day, level)
        return last

    def bought(self) -> list[float]:
        """Return the days of the orders so far, in order."""
        return sorted(one.day for one in self.events if one.kind == Kind.PURCHASE)

    def browses(self, day: float, until: float, mean: float = 3.5) -> None:
        """Add interactions, about two a week."""
        while (day := day + self.gap(mean, IRREGULAR)) < until:
            self.events.append(Happened(day, Kind.INTERACTION))

    def says(self, day: float, kind: Kind, score: float = math.nan) -> float:
        """Add feedback; returns its day."""
        self.events.append(Happened(day, kind, score=score))
        return day

    def is_content(self, day: float, until: float) -> None:
        """Add good answers now and then, and a complaint closed on the day it was opened."""
        for kind, every in ((Kind.SURVEY, 120.0), (Kind.RECOMMENDATION, 200.0)):
            at = day
            while (at := at + self.gap(every, IRREGULAR)) < until:
                self.says(at, kind, float(self.random.integers(8, 11)))
        at = day
        while (at := at + self.gap(400.0, IRREGULAR)) < until:
            self.says(math.floor(at) + 0.35, Kind.COMPLAINT_OPENED)
            self.says(math.floor(at) + 0.65, Kind.COMPLAINT_CLOSED)

    def lives(self, day: float, until: float) -> None:
        """Add what all customers do beside buying."""
        self.browses(day, until)
        self.is_content(day, until)
