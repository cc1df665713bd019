"""The churn model's costs: training, prediction against LightGBM itself and of a blend, reasons.

On CDNOW where it is available (23,570 customers), else on a simulated cohort of as many.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
from msgspec import structs

from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.risk import reasons
from services.scoring.core.risk.feature_row import feature_rows
from services.scoring.model.blending import TREES_ALONE, Blend
from services.scoring.model.churn_model import ChurnModel, dumps, loads
from services.scoring.training.data.datasets import path_of
from services.scoring.training.data.event_file import read
from services.scoring.training.data.event_table import EventBatch, EventTable, from_columns
from services.scoring.training.data.panel import build_panel
from services.scoring.training.fit.train import train

CUSTOMERS = 23_570
HORIZON_DAYS = 91
END = 883_526_400.0
"""1997-12-31, UTC."""
PREDICTED = 20_000
EXPLAINED = 1_000
REPEATS = 5
PAIRS = 15
"""Repeats of what is compared to a tenth."""


def run() -> dict[str, float | str]:
    """Returns seconds, and ratios of the same rows in the same run."""
    path = path_of("cdnow")
    table = _simulated() if path is None else read(path).table
    begin = time.perf_counter()
    made = train(table, END, HORIZON_DAYS)
    model, report = made.model, made.report
    seconds = time.perf_counter() - begin
    rows = build_panel(table, [END - HORIZON_DAYS * DAY_S], HORIZON_DAYS, END).x
    rows = np.ascontiguousarray(rows[np.arange(PREDICTED) % len(rows)])
    ours = _best(lambda: model.predict(rows))
    raw = _best(lambda: model.booster.predict(rows, num_threads=1))
    few = rows[:EXPLAINED]
    trees, blended = (
        _with(model, blend) for blend in (TREES_ALONE, Blend(slope=0.75, rhythm=0.25))
    )
    alone, both = _in_turn(lambda: trees.predict(rows), lambda: blended.predict(rows))
    lapse = np.full(EXPLAINED, 0.5)
    travelling = _best(lambda: feature_rows(few, lapse))
    encoded = _best(lambda: list(map(msgspec.json.encode, feature_rows(few, lapse))))
    reported = _best(lambda: reasons.reasons(model.explain(few), few))
    return {
        "history": "cdnow" if path is not None else "simulated",
        "training_rows": float(report.card.rows),
        "training_s": seconds,
        "trees": float(report.card.trees),
        "memory_max_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "predict_rows_per_s": PREDICTED / ours,
        "predict_over_booster": ours / raw,
        "blend_over_trees": both / alone,
        "trees_us": alone / PREDICTED * 1e6,
        "blend_us": both / PREDICTED * 1e6,
        "feature_row_us": travelling / EXPLAINED * 1e6,
        "feature_row_encoded_us": encoded / EXPLAINED * 1e6,
        "reasons_for_1000_s": reported,
    }


def _in_turn(*works: Callable[[], object]) -> list[float]:
    """Returns the least processor time of each, s: in turn, so that a busy spell meets all."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(PAIRS):
        for work, of in zip(works, taken, strict=True):
            begin = time.process_time()
            work()
            of.append(time.process_time() - begin)
    return [min(of) for of in taken]


def _with(model: ChurnModel, blend: Blend) -> ChurnModel:
    return loads(dumps(replace(model, artefact=structs.replace(model.artefact, blend=blend))))


def _best(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def _simulated() -> EventTable:
    random = np.random.default_rng(1997)
    repeats = random.poisson(random.gamma(0.5, 4.0, CUSTOMERS))
    customer = np.repeat(np.arange(CUSTOMERS), repeats + 1)
    first = random.uniform(END - 365 * DAY_S, END - 275 * DAY_S, CUSTOMERS)[customer]
    newest = np.r_[True, customer[1:] != customer[:-1]]
    times = np.where(newest, first, first + random.beta(1, 2, len(customer)) * (END - first))
    n = len(customer)
    columns = EventColumns(
        row=np.zeros(n, np.int64),
        kind=np.full(n, Kind.PURCHASE, np.uint8),
        time=np.floor(times / DAY_S) * DAY_S,
        amount=random.lognormal(3.0, 1.0, n),
        score=np.full(n, np.nan),
        key=np.arange(n, dtype=np.uint64),
        category=np.zeros(n, np.uint64),
        cost=np.full(n, np.nan),
        channel=np.zeros(n, np.uint8),
    )
    return from_columns([EventBatch([str(c) for c in customer], columns)], END)
