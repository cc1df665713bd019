"""Section `kernel`: the columnar fold compared with the same sums in plain Python."""

import math
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from services.scoring.core.features import state
from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.risk.rhythm import churn_by_rhythm

EVENTS = 200_000
CUSTOMERS = 20_000
BATCH = 2_000
ROUNDS = 3
"""Number of runs; the best is reported, because the machine's noise only adds time."""


def run() -> dict[str, float]:
    """Measures folds and assessments per second on one thread, and the ratio to Python."""
    events = history(EVENTS, CUSTOMERS, seed=1)
    folded = state.empty(CUSTOMERS)

    def columnar() -> None:
        nonlocal folded
        folded = state.empty(CUSTOMERS)
        for at in range(0, EVENTS, BATCH):
            batch = events.select(np.arange(at, at + BATCH))
            touched, row = np.unique(batch.row, return_inverse=True)
            columns = EventColumns(row, *(getattr(batch, n) for n in _REST))
            folded[touched] = fold(folded[touched], columns)

    fold_s = best(columnar)
    python_s = best(lambda: plain(events))
    now = np.full(BATCH, 400 * DAY_S)
    assess_s = best(lambda: churn_by_rhythm(features(folded[:BATCH], now), 28.0))
    return {
        "fold_events_per_s": EVENTS / fold_s,
        "plain_python_events_per_s": EVENTS / python_s,
        "ratio_to_plain_python": python_s / fold_s,
        "assess_customers_per_s": BATCH / assess_s,
    }


_REST = ("kind", "time", "amount", "score", "key", "category", "cost", "channel")


def history(count: int, customers: int, seed: int) -> EventColumns:
    """Generates purchases over a year, customers drawn by a Zipf-like law, in order of time."""
    draw = np.random.default_rng(seed)
    weight = 1 / np.arange(1, customers + 1) ** 0.7
    return EventColumns(
        row=draw.choice(customers, count, p=weight / weight.sum()),
        kind=np.full(count, Kind.PURCHASE, np.uint8),
        time=np.sort(draw.uniform(0, 365 * DAY_S, count)),
        amount=draw.gamma(2.0, 20.0, count),
        score=np.full(count, np.nan),
        key=np.arange(count, dtype=np.uint64),
        category=np.zeros(count, np.uint64),
        cost=np.full(count, np.nan),
        channel=np.zeros(count, np.uint8),
    )


def plain(events: EventColumns) -> dict[int, list[float]]:
    """The reference: decayed sums, counts and days of purchase in dictionaries, event by event."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0] * 10)
    days: dict[int, set[int]] = defaultdict(set)
    lives = [life * DAY_S for life in state.HALF_LIVES_DAYS]
    for row, at, amount in zip(
        events.row.tolist(), events.time.tolist(), events.amount.tolist(), strict=True
    ):
        kept = sums[row]
        age = at - kept[8]
        for i, life in enumerate(lives):
            fade = math.pow(2.0, -age / life)
            kept[i] = kept[i] * fade + 1.0
            kept[4 + i] = kept[4 + i] * fade + amount
        kept[8] = at
        kept[9] += 1
        days[row].add(int(at // DAY_S))
    return sums


def best(work: Callable[[], object]) -> float:
    """Returns the least seconds of `ROUNDS` runs."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
