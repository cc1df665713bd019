"""Cold start on monthly business customers: the rule and the prior know when they are due.

Planted: gaps of about a month, the more regular the more alike, and one purchase in 25 is the last.
The seeds were fixed before any of them was looked at.
"""

from functools import cache

import numpy as np
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.core.monitoring.metrics import calibration_error, log_loss
from services.scoring.core.risk import btyd
from services.scoring.core.risk.rhythm import history
from services.scoring.model.pooled_model import fit_prior, no_purchase
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.event_table import EventTable, from_columns
from services.scoring.training.data.panel import Panel, build_panel
from services.scoring.training.fit.candidates import learn
from services.scoring.training.measures.metrics import ECE_BINS
from tests.unit.scoring.training.histories import batch, day

HORIZON = 28
SEEDS = (101, 102, 103)


@cache
def _companies(seed: int, customers: int = 600, days: float = 430.0) -> EventTable:
    random = np.random.default_rng(seed)
    events = []
    for n in range(customers):
        mean, k = 30.4 * np.exp(random.normal(0, 0.1)), random.uniform(12, 60)
        at = random.uniform(0, 150)
        while at < days:
            events.append((f"c{n:04}", Kind.PURCHASE, at))
            at = days if random.random() < 0.04 else at + random.gamma(k, mean / k)
    return from_columns([batch(events)], day(days))


def _at(seed: int, number: float) -> Panel:
    return build_panel(_companies(seed), [day(number)], HORIZON, day(number + HORIZON))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", [200, 300, 400])
def test_the_prior_is_calibrated_from_the_first_months_on(seed: int, number: float) -> None:
    rows = _at(seed, number)
    p = no_purchase(fit_prior(rows.x), rows.x, HORIZON)
    assert calibration_error(rows.silent, p, bins=ECE_BINS) <= 0.05
    random = btyd.no_purchase_probability(
        btyd.fit(*history(rows.x), model="mbg"), *history(rows.x), HORIZON
    )
    assert calibration_error(rows.silent, random, bins=ECE_BINS) > 0.15
    assert log_loss(rows.silent, p) < log_loss(rows.silent, random) - 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_a_company_with_few_customers_gets_the_prior_in_service(seed: int) -> None:
    """Of 130 customers, fewer than a base of random gaps needs; what serves is calibrated."""
    few, at = _companies(seed, customers=130), 250.0
    best = learn(few, day(at), HORIZON).best(None)
    assert best is not None
    rows = build_panel(few, [day(at)], HORIZON, day(at + HORIZON))
    p = best.model.predict(rows.x)
    assert calibration_error(rows.silent, p, bins=5) <= 0.10
    assert log_loss(rows.silent, p) < log_loss(rows.silent, RuleModel(HORIZON).predict(rows.x))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rule_is_calibrated_once_customers_have_bought_a_few_times(seed: int) -> None:
    rows = _at(seed, 400)
    p = RuleModel(HORIZON).predict(rows.x)
    assert calibration_error(rows.silent, p, bins=ECE_BINS) <= 0.10
