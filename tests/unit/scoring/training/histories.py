"""Small synthetic histories for the tests of training and of models."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.model.churn_model import ChurnModel
from services.scoring.training.data.event_table import EventBatch, EventTable, from_columns
from services.scoring.training.data.panel import Panel, build_panel
from services.scoring.training.fit.train import TrainingReport, train

START = 1_600_041_600.0
"""2020-09-14 00:00 UTC."""
HORIZON_DAYS = 14
DAYS = 150
END = START + DAYS * DAY_S


def day(number: float) -> float:
    """Return the Unix seconds at `number` days after START."""
    return START + number * DAY_S


def batch(events: Sequence[tuple[str, Kind, float]], amount: float = 10.0) -> EventBatch:
    """Return the columns of (customer, kind, days after START)."""
    n = len(events)
    columns = EventColumns(
        row=np.zeros(n, np.int64),
        kind=np.array([kind for _, kind, _ in events], np.uint8),
        time=np.array([day(at) for _, _, at in events]),
        amount=np.array([amount if kind == Kind.PURCHASE else np.nan for _, kind, _ in events]),
        score=np.full(n, np.nan),
        key=np.arange(n, dtype=np.uint64),
        category=np.zeros(n, np.uint64),
        cost=np.full(n, np.nan),
        channel=np.zeros(n, np.uint8),
    )
    return EventBatch([customer for customer, _, _ in events], columns)


def purchases(*events: tuple[str, float], until: float = DAYS) -> EventTable:
    """Return a table of (customer, days after START), observed until that day."""
    return from_columns([batch([(c, Kind.PURCHASE, at) for c, at in events])], day(until))


@cache
def shoppers(customers: int = 200, seed: int = 5) -> EventTable:
    """Return buyers with rhythms of 2 to 20 days; half of them stop one day."""
    random = np.random.default_rng(seed)
    events: list[tuple[str, Kind, float]] = []
    for number in range(customers):
        gap = random.uniform(2, 20)
        leaves = random.uniform(20, 2 * DAYS)
        at = random.uniform(0, 20)
        while at < min(leaves, DAYS):
            events.append((f"c{number:03}", Kind.PURCHASE, at))
            if random.random() < 0.3:
                events.append((f"c{number:03}", Kind.INTERACTION, at + 0.01))
            at += random.exponential(gap)
    kept = [event for event in events if event[2] < DAYS]
    return from_columns([batch(kept)], END)


def every(first: float, last: float, step_days: int) -> list[float]:
    """Return cutoffs from `first` on, `step_days` apart, none after `last` (unix seconds)."""
    steps = int((last - first) // (step_days * DAY_S))
    return [first + i * step_days * DAY_S for i in range(steps + 1)]


@cache
def panel() -> Panel:
    """Return weekly cutoffs of `shoppers` from day 40."""
    return build_panel(shoppers(), every(day(40), END, 7), HORIZON_DAYS, END)


@cache
def trained() -> tuple[ChurnModel, TrainingReport]:
    """Return a model of `shoppers`."""
    made = train(shoppers(), END, HORIZON_DAYS)
    return made.model, made.report
