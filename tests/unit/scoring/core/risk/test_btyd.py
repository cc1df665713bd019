"""BG/NBD and MBG/NBD: against the paper, simulated customers, and their own laws."""

import doctest

import numpy as np
import pytest

from services.scoring.core.risk import btyd
from services.scoring.core.risk.btyd import (
    Model,
    Parameters,
    alive_probability,
    expected_purchases,
    fit,
    log_likelihood,
    no_purchase_probability,
)
from shared.kernel.arrays import Floats

CDNOW = Parameters(r=0.243, alpha=4.414, a=0.793, b=2.426)
"""Fader, Hardie & Lee (2005), table 2.

`fit` gives 0.2426, 4.4135, 0.7929, 2.4258 and a log-likelihood of -9,582.4 on the same 2,357
customers, as the paper does.
"""
CDNOW_MBG = Parameters(r=0.525, alpha=6.183, a=0.891, b=1.614, model="mbg")
"""Batislam, Denizel & Filiztekin (2007), same customers; `fit` gives the same."""


def lives(
    true: Parameters, customers: int, horizon: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return x, t_x and age of simulated customers, and their purchases in the next `horizon`."""
    random = np.random.default_rng(11)
    rate = random.gamma(true.r, 1 / true.alpha, customers)
    leaves = random.beta(true.a, true.b, customers)
    age = random.uniform(60.0, 100.0, customers)
    x, t_x, after = np.zeros((3, customers))
    for at in range(customers):
        time, alive = 0.0, true.model == "bg" or random.random() >= leaves[at]
        while alive:
            time += random.exponential(1 / rate[at])
            if time > age[at] + horizon:
                break
            if time <= age[at]:
                x[at], t_x[at] = x[at] + 1, time
            else:
                after[at] += 1
            alive = random.random() >= leaves[at]
    return x, t_x, age, after


def test_the_examples_in_the_docstring_run() -> None:
    assert doctest.testmod(btyd).failed == 0
    assert doctest.testmod(btyd).attempted > 0


@pytest.mark.parametrize("true", [CDNOW, CDNOW_MBG], ids=["bg", "mbg"])
def test_a_fit_finds_what_made_the_lives_and_foretells_them(true: Parameters) -> None:
    x, t_x, age, after = lives(true, 6_000, 39.0)
    found = fit(x, t_x, age, model=true.model)
    assert found.r == pytest.approx(true.r, rel=0.15)
    assert found.alpha == pytest.approx(true.alpha, rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(true.a / (true.a + true.b), rel=0.2)
    silent = no_purchase_probability(true, x, t_x, age, 39.0)
    assert silent.mean() == pytest.approx((after == 0).mean(), abs=0.015)
    assert expected_purchases(true, x, t_x, age, 39.0).mean() == pytest.approx(
        after.mean(), rel=0.08
    )
    for group in (x == 0, (x > 0) & (t_x < age / 2), (x > 3)):
        assert silent[group].mean() == pytest.approx((after[group] == 0).mean(), abs=0.03)


@pytest.mark.parametrize("true", [CDNOW, CDNOW_MBG], ids=["bg", "mbg"])
def test_the_fit_is_a_maximum_and_weights_are_counts(true: Parameters) -> None:
    x, t_x, age, _ = lives(true, 500, 10.0)
    found = fit(x, t_x, age, model=true.model)
    best = log_likelihood(found, x, t_x, age).sum()
    for name in ("r", "alpha", "a", "b"):
        for factor in (0.98, 1.02):
            other = {**{n: getattr(found, n) for n in ("r", "alpha", "a", "b")}}
            other[name] *= factor
            assert log_likelihood(Parameters(**other, model=true.model), x, t_x, age).sum() < best
    twice = fit(np.r_[x, x[:99]], np.r_[t_x, t_x[:99]], np.r_[age, age[:99]], model=true.model)
    counts = np.where(np.arange(len(x)) < 99, 2.0, 1.0)
    weighed = fit(x, t_x, age, weight=counts, model=true.model)
    assert weighed.alpha == pytest.approx(twice.alpha, rel=1e-3)


def test_time_may_be_in_any_unit() -> None:
    x, t_x, age, _ = lives(CDNOW, 500, 10.0)
    weeks, days = fit(x, t_x, age), fit(x, t_x * 7, age * 7)
    assert days.alpha == pytest.approx(weeks.alpha * 7, rel=1e-3)
    np.testing.assert_allclose(
        no_purchase_probability(days, x, t_x * 7, age * 7, 91.0),
        no_purchase_probability(weeks, x, t_x, age, 13.0), rtol=1e-4)  # fmt: skip


@pytest.mark.parametrize("true", [CDNOW, CDNOW_MBG], ids=["bg", "mbg"])
def test_probabilities_and_expectations_keep_their_laws(true: Parameters) -> None:
    x, t_x = np.array([0.0, 1, 5, 40, 400]), np.array([0.0, 3, 20, 30, 39])
    horizons = np.array([0.0, 0.01, 1, 10, 1_000])
    silences = np.array([0.0, 1, 10, 100, 10_000])
    nobody = np.array([no_purchase_probability(true, x, t_x, t_x + 3, h) for h in horizons])
    assert np.all(np.diff(nobody, axis=0) <= 0)
    np.testing.assert_array_equal(nobody[0], 1.0)
    longer = np.array([no_purchase_probability(true, x, t_x, t_x + s, 4.0) for s in silences])
    assert np.all(np.diff(longer, axis=0) >= 0)
    expected = np.array([expected_purchases(true, x, t_x, t_x + 3, h) for h in horizons])
    assert np.all(np.diff(expected, axis=0) >= 0)
    assert np.isfinite(expected).all()
    # At least one purchase is at most the number of purchases (Markov).
    assert np.all(1 - nobody <= expected + 1e-9)
    # In a moment there is at most one.
    np.testing.assert_allclose(expected[1], (1 - nobody)[1], rtol=0.3)


@pytest.mark.parametrize("model", ["bg", "mbg"])
def test_the_expectation_has_no_hole_at_a_equal_to_one(model: Model) -> None:
    x, t_x, age = np.array([3.0]), np.array([20.0]), np.array([30.0])
    near = [
        expected_purchases(Parameters(0.3, 5.0, a, 2.0, model), x, t_x, age, 10.0)[0]
        for a in (0.999, 1.0, 1.001)
    ]
    assert near[0] > near[1] > near[2]
    assert near[1] == pytest.approx((near[0] + near[2]) / 2, rel=1e-5)


def test_who_bought_once_is_alive_by_construction_so_alive_is_no_churn_score() -> None:
    once = (np.array([0.0]), np.array([0.0]), np.array([500.0]))
    assert alive_probability(CDNOW, *once) == 1.0
    assert alive_probability(CDNOW_MBG, *once) < 0.25
    assert no_purchase_probability(CDNOW, *once, 13.0) > 0.98


@pytest.mark.parametrize(
    ("x", "t_x", "age"),
    [([0.0] * 9, [0.0] * 9, [10.0] * 9), ([3.0] * 9, [9.0] * 9, [10.0] * 9), ([0.0], [0.0], [0.0])],
    ids=["nobody came back", "all alike", "one customer today"],
)
@pytest.mark.parametrize("model", ["bg", "mbg"])
def test_flat_histories_still_give_probabilities(
    model: Model, x: list[float], t_x: list[float], age: list[float]
) -> None:
    columns = (np.array(x), np.array(t_x), np.array(age))
    p = no_purchase_probability(fit(*columns, model=model), *columns, 5.0)
    assert np.all((p >= 0) & (p <= 1))


@pytest.mark.parametrize(
    ("x", "t_x", "age", "match"),
    [([], [], [], "no customer"), ([1.0], [3.0], [2.0], "t_x <= age"),
     ([-1.0], [0.0], [2.0], "x >= 0"),
     ([1.0], [np.nan], [2.0], "finite")],
)  # fmt: skip
def test_bad_columns_are_refused(
    x: list[float], t_x: list[float], age: list[float], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        fit(np.array(x), np.array(t_x), np.array(age))
