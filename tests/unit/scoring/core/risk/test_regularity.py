"""Regular gaps (Erlang-k): against the published likelihood, integrals, and simulated lives."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaln, gammaln
from scipy.stats import beta as beta_of
from scipy.stats import gamma as gamma_of

from services.scoring.core.risk import regularity
from services.scoring.core.risk.btyd import (
    Parameters,
    alive_probability,
    expected_purchases,
    fit,
    log_likelihood,
    no_purchase_probability,
)
from services.scoring.core.risk.rhythm import PRIOR, churn_by_rhythm
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.feature_rows import rows

PUBLISHED = Parameters(r=0.85, alpha=1.45, a=0.79, b=2.42, model="mbg", k=3.0)
"""The parameters of the authors' own tests of MBG/CNBD-k: package BTYDplus 1.2.0 of Platzer, file
tests/testthat/test-mbg-cnbd-k.R; weeks."""
X = np.array([0.0, 0.0, 1.0, 3.0, 8.0, 40.0])
T_X = np.array([0.0, 0.0, 4.0, 12.0, 30.0, 90.0])
AGE = np.array([1.0, 50.0, 9.0, 13.0, 60.0, 92.0])


def published_likelihood(by: Parameters, x: float, t_x: float, age: float) -> float:
    """Return the log-likelihood as a sum over phases, as the paper and the package write it.

    Without the summands of single gaps, which no parameter but k changes.
    """
    k = int(by.k)
    phases, waited = by.r + k * x, age - t_x
    head = betaln(by.a, by.b + x + 1) - betaln(by.a, by.b)
    head += gammaln(phases) - gammaln(by.r) + by.r * math.log(by.alpha)
    head -= phases * math.log(by.alpha + age)
    left = by.a / (by.b + x) * ((by.alpha + age) / (by.alpha + t_x)) ** phases
    waits = sum(
        math.exp(gammaln(phases + j) - gammaln(phases) - gammaln(j + 1))
        * (waited / (by.alpha + age)) ** j
        for j in range(k)
    )
    return float(head + math.log(left + waits))


@pytest.mark.parametrize("k", [1.0, 2.0, 3.0, 12.0])
def test_the_likelihood_is_the_published_sum_over_phases(k: float) -> None:
    by = Parameters(0.85, 1.45, 0.79, 2.42, "mbg", k)
    ours = log_likelihood(by, X, T_X, AGE)
    theirs = [published_likelihood(by, *each) for each in zip(X, T_X, AGE, strict=True)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def _integral(density: Callable[[float], float]) -> float:
    """Return the integral over (0, 1)."""
    return float(quad(density, 0, 1, limit=400, points=[0.01, 0.1, 0.5])[0])


@pytest.mark.parametrize("k", [1.5, 3.0, 7.0])
@pytest.mark.parametrize("at", range(4))
def test_probabilities_are_integrals_over_rate_and_leaving(k: float, at: int) -> None:
    """By quadrature over the rate and the leaving of a customer, from the gamma's own tail."""
    by, x, t_x, age, horizon = PUBLISHED, X[at], T_X[at], AGE[at], 5.0
    by = Parameters(by.r, by.alpha, by.a, by.b, "mbg", k)

    def over_leaving(power: float, left: bool) -> float:
        if left:
            return _integral(lambda q: (1 - q) ** power * q * beta_of.pdf(q, by.a, by.b))
        return _integral(lambda q: (1 - q) ** (power + 1) * beta_of.pdf(q, by.a, by.b))

    def over_rate(waited: float) -> float:
        """Purchases at a rate, and then no purchase for so long."""

        def density(u: float) -> float:
            rate = u / (1 - u)
            bought = rate ** (k * x) * math.exp(-rate * t_x)
            tail = gamma_of.sf(waited, k, scale=1 / rate) if waited else 1.0
            prior = gamma_of.pdf(rate, by.r, scale=1 / by.alpha)
            return float(bought * tail * prior / (1 - u) ** 2)

        return _integral(density)

    left = over_leaving(x, left=True) * over_rate(0.0)
    stays, later = (over_leaving(x, left=False) * over_rate(w)
                    for w in (age - t_x, age - t_x + horizon))  # fmt: skip
    one = (np.array([x]), np.array([t_x]), np.array([age]))
    assert alive_probability(by, *one)[0] == pytest.approx(stays / (stays + left), rel=1e-4)
    silent = no_purchase_probability(by, *one, horizon)[0]
    assert silent == pytest.approx((left + later) / (left + stays), rel=1e-4)


def lives(by: Parameters, customers: int, horizon: float) -> tuple[Floats, ...]:
    """Return x, t_x, age, the last two gaps, and purchases in the next `horizon`; simulated."""
    random = np.random.default_rng(7)
    rate = random.gamma(by.r, 1 / by.alpha, customers)
    leaves = random.beta(by.a, by.b, customers)
    age = random.uniform(60.0, 100.0, customers)
    x, t_x, first, second, after = np.zeros((5, customers))
    first[:], second[:] = np.nan, np.nan
    for at in range(customers):
        time, alive = 0.0, random.random() >= leaves[at]
        while alive:
            gap = random.gamma(by.k, 1 / rate[at])
            time += gap
            if time > age[at] + horizon:
                break
            if time <= age[at]:
                x[at], t_x[at] = x[at] + 1, time
                first[at], second[at] = second[at], gap
            else:
                after[at] += 1
            alive = random.random() >= leaves[at]
    return x, t_x, age, first, second, after


def test_a_fit_finds_what_made_the_lives_and_predicts_them() -> None:
    x, t_x, age, first, second, after = lives(PUBLISHED, 6_000, 10.0)
    found = fit(x, t_x, age, model="mbg", k=3.0)
    assert found.k == 3.0
    assert found.r == pytest.approx(PUBLISHED.r, rel=0.15)
    assert found.alpha == pytest.approx(PUBLISHED.alpha, rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(0.79 / 3.21, rel=0.15)
    silent = no_purchase_probability(found, x, t_x, age, 10.0)
    for group in (x == 0, (x > 0) & (t_x < age / 2), x > 8):
        assert silent[group].mean() == pytest.approx((after[group] == 0).mean(), abs=0.03)
    two = ~np.isnan(first)
    assert regularity.of_pairs(first[two], second[two]) == pytest.approx(3.0, rel=0.15)


def test_gaps_at_random_are_not_called_regular() -> None:
    random = np.random.default_rng(3)
    first, second = random.exponential(30.0, (2, 20_000))
    assert regularity.of_pairs(first, second) == pytest.approx(1.0, abs=0.1)
    assert regularity.of_base(rows(gap_second_last_days=first, gap_last_days=second)) == 1.0
    first, second = random.gamma(2.0, 15.0, (2, 20_000))
    assert regularity.of_pairs(first, second) == pytest.approx(2.0, abs=0.1)
    slightly = rows(gap_second_last_days=first, gap_last_days=second)
    assert regularity.of_base(slightly) == 1.0, "too little to be used"
    few = rows(gap_second_last_days=first[:60] * 0 + 30, gap_last_days=second[:60] * 0 + 30)
    assert regularity.of_base(few) == 1.0, "too few customers"
    alike = rows(gap_second_last_days=first * 0 + 30, gap_last_days=second * 0 + 30)
    assert regularity.of_base(alike) == regularity.K_MAX
    daily = rows(gap_second_last_days=np.ones(500), gap_last_days=np.ones(500))
    assert regularity.of_base(daily) == 1.0, "whole days make short gaps alike"


def test_only_many_alike_gaps_are_a_customers_own_regularity() -> None:
    x = rows(
        purchase_days=[1.0, 4.0, 13.0, 13.0, 13.0],
        gap_mean_days=[np.nan, 30.0, 30.0, 30.0, 30.0],
        gap_variation=[np.nan, 0.05, 0.05, 0.3, 0.9],
    )
    assert regularity.of_customers(x).tolist()[:2] == [1.0, 1.0]
    one, two, three = regularity.of_customers(x).tolist()[2:]
    assert one == regularity.OWN_K_MAX > two > 5.0
    assert three == 1.0


def test_who_buys_monthly_is_not_missed_before_the_day_and_is_after_it() -> None:
    """The rule: a week after a purchase nothing is due within ten days; after 40 it is overdue."""
    silences = np.array([1.0, 7.0, 25.0, 40.0, 80.0])
    regular, random = (
        churn_by_rhythm(
            rows(
                purchase_days=13.0, gap_mean_days=30.0, recency_days=silences, gap_variation=spread
            ),
            10,
        )
        for spread in (0.08, 0.9)
    )
    assert regular[0] > 0.95
    assert regular[2] < 0.5 < random[2]
    assert regular[4] > 0.9
    assert np.all(np.diff(random) > 0)


@given(
    x=st.integers(0, 200), gap=st.floats(1, 200), silence=st.floats(0, 2_000),
    horizon=st.floats(0.1, 400), k=st.floats(1, 30),
)  # fmt: skip
def test_it_is_a_probability_that_never_rises_with_the_horizon(
    x: int, gap: float, silence: float, horizon: float, k: float
) -> None:
    by = Parameters(PRIOR.purchases, PRIOR.days, PRIOR.leaving, PRIOR.staying, "mbg", k)
    one = (np.array([float(x)]), np.array([x * gap]), np.array([x * gap + silence]))
    short, long = (no_purchase_probability(by, *one, h)[0] for h in (horizon, 2 * horizon))
    assert -1e-12 <= long <= short + 1e-12 <= 1 + 2e-12


def test_expected_purchases_are_refused_for_regular_gaps() -> None:
    with pytest.raises(ValueError, match="k = 1"):
        expected_purchases(PUBLISHED, X, T_X, AGE, 10.0)
