"""How large a holdout is needed: against simulated experiments, and its laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alerts.core.effect import ENOUGH
from services.alerts.core.holdout_power import (
    SHARES,
    claimed_warnings,
    planned_warnings,
    plans,
    proposed,
)
from services.alerts.core.intervals import anytime, newcombe

RUNS = 400


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_planned_number_finds_the_effect_four_times_of_five(share: float) -> None:
    """Both readings, on experiments with the planned effect."""
    base, effect = 0.4, 0.08
    claimed = claimed_warnings(base, effect, share)
    assert claimed is not None
    for number, interval in ((claimed, anytime), (planned_warnings(base, effect, share), newcombe)):
        chance = np.random.default_rng(11)
        left = round(number * share)
        treated = number - left
        hits = chance.binomial(treated, base + effect, RUNS)
        others = chance.binomial(left, base, RUNS)
        found = sum(
            interval(int(a), treated, int(b), left).low > 0
            for a, b in zip(hits, others, strict=True)
        )
        assert 0.72 < found / RUNS < 0.88


@given(st.floats(0.05, 0.6), st.floats(0.02, 0.3))
def test_a_larger_share_and_a_larger_effect_need_fewer_warnings(base: float, effect: float) -> None:
    made = plans(base, effect)
    numbers = [plan.claimed for plan in made]
    assert all(n is not None for n in numbers)
    # Up to a third; beyond it the arm with the larger variance wants to be the larger one.
    assert numbers[:5] == sorted(numbers[:5], key=lambda n: -(n or 0))
    for plan in made:
        assert plan.claimed is not None
        assert min(plan.planned, plan.claimed) * plan.share >= ENOUGH - 1
        smaller = claimed_warnings(base, effect / 2, plan.share)
        assert smaller is not None
        assert smaller >= plan.claimed


def test_the_smallest_share_in_time_is_proposed() -> None:
    made = plans(0.5, 0.1)
    first = proposed(made, 1e9, 1.0)
    assert first is not None
    assert first.share == SHARES[0]
    needed = made[3].claimed
    assert needed is not None
    fourth = proposed(made, needed / 10, 10.0)
    assert fourth == made[3]
    assert proposed(made, 1.0, 10.0) is None
    assert made[0].weeks(0.0) is None
    assert claimed_warnings(0.5, 0.0001, 0.05) is None
    assert proposed(plans(0.5, 0.0001), 1.0, 10.0) is None
