"""Planted: what customers do before they leave shows by the kind of interaction, not by the count.

A customer who is about to leave interacts as often as before, but with the service instead of the
cart. The seeds and what has to hold were fixed before any of them was looked at.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from services.scoring.core.features.registry import KINDS, feature_index
from services.scoring.core.monitoring.metrics import log_loss
from services.scoring.core.risk.odds import sigmoid
from services.scoring.training.data.event_table import EventTable, batch_of_frame, from_columns
from services.scoring.training.data.panel import Panel, build_panel
from services.scoring.training.fit.fit import fit
from services.scoring.training.fit.train import usual_cutoffs
from services.scoring.training.fit.trees import log_odds
from shared.kernel.arrays import Floats
from tests.unit.scoring.training.histories import START, day

HORIZON = 21
LAST, DAYS = 280.0, 301.0
SEEDS = (211, 212, 213)
WARNED_DAYS = 25.0
"""Days before leaving from which the kinds differ, in the world where they do."""
USUAL = {"product_viewed": 0.55, "add_to_cart": 0.25, "login": 0.18, "support_ticket": 0.02}
LEAVING = {"product_viewed": 0.55, "add_to_cart": 0.0, "login": 0.18, "support_ticket": 0.27}


@cache
def _world(seed: int, *, shows: bool) -> EventTable:
    random = np.random.default_rng(seed)
    found: list[tuple[str, str, float]] = []
    for number in range(800):
        who, gap = f"c{number:03}", float(np.exp(random.uniform(np.log(8), np.log(25))))
        leaves = random.uniform(60, 700)
        times = np.cumsum(random.exponential(gap, 200)) + random.uniform(0, 30)
        found += [(who, "purchase", at) for at in times[times < min(leaves, DAYS)].tolist()]
        acts = np.sort(random.uniform(0, DAYS, random.poisson(0.25 * DAYS)))
        leaving = shows & (acts > leaves - WARNED_DAYS)
        drawn = random.random(len(acts))
        for at, late, share in zip(acts.tolist(), leaving.tolist(), drawn.tolist(), strict=True):
            words = LEAVING if late else USUAL
            word = list(words)[int(np.searchsorted(np.cumsum(list(words.values())), share))]
            found.append((who, word, at))
    frame = pl.DataFrame(found, schema=["customer_id", "event_type", "day"], orient="row")
    made = frame.select(
        pl.int_range(pl.len()).cast(pl.String).alias("event_id"), "customer_id", "event_type",
        pl.from_epoch(((START + pl.col("day") * 86_400) * 1e6).cast(pl.Int64), "us").alias("ts"),
    )  # fmt: skip
    return from_columns([batch_of_frame(made)], day(DAYS))


def _without_kinds(panel: Panel) -> Panel:
    x = panel.x.copy()
    x[:, [feature_index[feature.name] for feature in KINDS]] = np.nan
    return replace(panel, x=x)


def _loss(learned: Panel, later: Panel) -> float:
    p: Floats = sigmoid(log_odds(fit(learned).booster, later.x, 1))
    return log_loss(later.silent, p)


def _gain(seed: int, *, shows: bool) -> float:
    """Return by how much the log loss on a later cutoff falls with the features by kind."""
    table, end = _world(seed, shows=shows), day(LAST)
    learned = build_panel(table, usual_cutoffs(table, end, HORIZON), HORIZON, end)
    later = build_panel(table, [end], HORIZON, day(DAYS))
    active = later.where(later.subset("active"))
    return _loss(_without_kinds(learned), _without_kinds(active)) - _loss(learned, active)


@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_help_where_they_show_who_will_leave(seed: int) -> None:
    assert _gain(seed, shows=True) > 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_cost_next_to_nothing_where_they_show_nothing(seed: int) -> None:
    assert _gain(seed, shows=False) > -0.005
