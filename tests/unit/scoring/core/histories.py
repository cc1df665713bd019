"""Event histories for the kernel's tests: generated ones always, real ones where available.

Nothing is downloaded or copied: real sets are read from `EBBWATCH_DATA`, or from `../shared/data`
beside the repository.
"""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from deploy.local.stack import ROOT
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.state import INTERACTION_CLASSES

DATA = Path(os.environ.get("EBBWATCH_DATA") or ROOT.parent / "shared" / "data").resolve()
REAL_SETS = ("cdnow", "completejourney", "clvtools_apparel", "online_retail_ii")

EPOCH_S = 1_500_000_000.0
"""2017-07-14 02:40 UTC: not a midnight, so that a mistaken day boundary shows."""


def columns(**given: Any) -> EventColumns:
    """Return events with the columns given; the others have the values that mean "absent"."""
    n = len(given["time"])
    absent = {
        "row": np.zeros(n),
        "kind": np.full(n, Kind.PURCHASE),
        "amount": np.full(n, np.nan),
        "score": np.full(n, np.nan),
        "key": np.arange(n),
        "category": np.zeros(n),
        "cost": np.full(n, np.nan),
        "channel": np.zeros(n),
        "source": np.zeros(n),
        "until": np.full(n, np.nan),
    }
    merged = absent | given
    return EventColumns(
        row=np.asarray(merged["row"], np.int64),
        kind=np.asarray(merged["kind"], np.uint8),
        time=np.asarray(merged["time"], np.float64),
        amount=np.asarray(merged["amount"], np.float64),
        score=np.asarray(merged["score"], np.float64),
        key=np.asarray(merged["key"], np.uint64),
        category=np.asarray(merged["category"], np.uint64),
        cost=np.asarray(merged["cost"], np.float64),
        channel=np.asarray(merged["channel"], np.uint8),
        source=np.asarray(merged["source"], np.uint64),
        until=np.asarray(merged["until"], np.float64),
    )


def purchases(*days: float, row: int = 0) -> EventColumns:
    """Return one customer's purchases at noon of the given days since 1970, without amounts."""
    return columns(time=(np.array(days) + 0.5) * DAY_S, row=np.full(len(days), row))


def together(*parts: EventColumns) -> EventColumns:
    """Return all events of the parts, in their order."""
    names = [field.name for field in fields(EventColumns)]
    return EventColumns(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def generated(customers: int = 120, seed: int = 7) -> EventColumns:
    """Return events of every kind over eleven years, in shuffled arrival order, so that rings wrap.

    Customers differ in rhythm by a factor of 300 and leave at some point; some only interact, some
    have no amounts, and a tenth of the purchases repeats on the same day.
    """
    random = np.random.default_rng(seed)
    row, kind, time = [], [], []
    for customer in range(customers):
        start, gap = random.uniform(0, 1_500), float(np.exp(random.uniform(0, np.log(300))))
        life = random.exponential(1_200)
        times = start + np.cumsum(random.exponential(gap, size=1 + int(min(life / gap, 400))))
        times = np.concatenate([times, times[random.random(len(times)) < 0.1] + 1e-3])
        others = start + random.uniform(0, 3_900, size=int(random.integers(0, 60)))
        kinds = random.choice(
            [2, 3, 3, 3, 4, 5, 6, 6, 7, 7, 8, 9, 9, 10, 11, 11, 12, *range(13, 20), 13, 14, 16],
            size=len(others),
        )
        if customer % 15 == 0:
            times = times[:0]
        row.append(np.full(len(times) + len(others), customer))
        kind.append(np.concatenate([np.full(len(times), 1), kinds]))
        time.append(EPOCH_S + DAY_S * np.concatenate([times, others]))
    rows, kinds, times = np.concatenate(row), np.concatenate(kind), np.concatenate(time)
    n = len(rows)
    amount = np.where(random.random(n) < 0.9, np.round(random.gamma(2, 20, n), 2), np.nan)
    amount[(rows % 10 == 3) | ~np.isin(kinds, [1, 2, 13, 14, 15, 16])] = np.nan
    score = np.where(np.isin(kinds, [6, 7]), random.integers(0, 11, n), np.nan)
    score[random.random(n) < 0.2] = np.nan
    until = times + random.uniform(-10, 800, n) * DAY_S
    order = random.permutation(n)
    made = columns(
        row=rows[order],
        kind=kinds[order],
        time=np.round(times, 6)[order],
        amount=amount[order],
        score=score[order],
        key=random.integers(0, 2**63, n),
        category=random.integers(0, 2**63, 40)[random.zipf(1.5, n) % 40] * (random.random(n) < 0.8),
        cost=np.where(random.random(n) < 0.5, random.gamma(2, 18, n), np.nan),
        channel=random.integers(0, 4, n),
        source=random.integers(1, 4, n),
        until=np.where(np.isin(kinds, [11, 16]), until, np.nan)[order],
    )
    word = random.integers(0, INTERACTION_CLASSES + 1, n)
    channel = np.where(made.kind == Kind.INTERACTION, word, made.channel)
    return replace(made, channel=channel.astype(np.uint8))


def real(name: str) -> EventColumns | None:
    """Return a real history as events, rows numbered by customer id; None if not available."""
    path = DATA / name / "events.parquet"
    if not path.exists():
        return None
    with duckdb.connect() as db:
        table = db.execute(
            f"""SELECT dense_rank() OVER (ORDER BY customer_id) - 1 AS row,
                   CASE event_type WHEN 'purchase' THEN 1 WHEN 'cancellation' THEN 2
                       WHEN 'campaign_received' THEN 9 WHEN 'coupon_redeemed' THEN 10 ELSE 3 END
                       AS kind,
                   epoch_us(ts) / 1e6 AS time, abs(amount) AS amount,
                   row_number() OVER (ORDER BY event_id) AS key,
                   coalesce(hash(CAST(category AS VARCHAR)), 0) AS category
            FROM '{path}'"""  # noqa: S608 (a path of ours)
        ).fetchnumpy()
    absent = {"amount": np.nan}
    given = {name: np.ma.filled(values, absent.get(name)) for name, values in table.items()}
    return columns(**given)
