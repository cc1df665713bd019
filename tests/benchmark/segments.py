"""Section `segments`: classification and fifty rules, compared with the library's own evaluator.

Classification: RFM, lifetime value, grades and states. The evaluator gets the same rules, customer
by customer.
"""

from typing import Any

import numpy as np
from celpy import Environment, celtypes

from services.scoring.core.features import state
from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import feature_index
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.segments.rules import SegmentRules, rule
from services.scoring.core.value.affinity import Affinity
from services.scoring.core.value.base import measure
from services.scoring.core.value.classify import (
    Before,
    Risk,
    Valuation,
    assess,
)
from services.scoring.core.value.policy import ValuePolicy
from shared.contracts.events import Profile
from tests.benchmark.kernel import best, history

CUSTOMERS = 100_000
EVENTS = 1_000_000
BATCH = 2_000
RULES = 50
SLOW = 50
"""Customers for the library's evaluator: a thousandth of a batch's time each."""


def run() -> dict[str, float]:
    """Returns customers per second, one thread: a whole classification, and rules alone."""
    events = history(EVENTS, CUSTOMERS, seed=2)
    now = np.full(CUSTOMERS, 400 * DAY_S)
    states = fold(state.empty(CUSTOMERS), events)
    x, categories = features(states, now), states["categories"]
    sources = [
        f"purchases > {n % 9} && tier == '{('high', 'mid', 'low')[n % 3]}' || "
        f"recency_days > {100 + n}.0 && region in ['north', 'south']"
        for n in range(RULES)
    ]
    rules = SegmentRules(1, tuple(rule(f"s{n}", 1, 1, source) for n, source in enumerate(sources)))
    mapped = Affinity(categories={"price_sensitive": ["sale"], "enterprise": ["office"]})
    policy = ValuePolicy(affinity=mapped)
    base = measure(x[:10_000], np.zeros(10_000), categories[:10_000], policy, LapseClock())
    valuation = Valuation(policy, 1, base, rules)
    profiles = [Profile(region=("north", "south", "east")[n % 3]) for n in range(CUSTOMERS)]
    before = Before.nothing(BATCH)
    none = np.zeros(BATCH)

    def standings() -> None:
        for at in range(0, CUSTOMERS, BATCH):
            rows = slice(at, at + BATCH)
            assess(x[rows], now[rows], Risk(none.astype(np.int8), none, none), categories[rows],
                   profiles[rows], before, valuation)  # fmt: skip

    seconds = best(standings)
    environment = Environment()
    programs = [environment.program(environment.compile(source)) for source in sources]
    names = ("purchases", "recency_days")

    def library() -> None:
        for row in range(SLOW):
            given: Any = {
                **{n: celtypes.DoubleType(x[row, feature_index[n]]) for n in names},
                "tier": celtypes.StringType("high"),
                "region": celtypes.StringType("north"),
            }
            for program in programs:
                program.evaluate(given)

    return {
        "customers_per_s": CUSTOMERS / seconds,
        "library_rules_customers_per_s": SLOW / best(library),
        "ratio_to_library": CUSTOMERS / seconds / (SLOW / best(library)),
        "rules": float(RULES),
    }
