"""Gamma-Gamma and lifetime value against the paper, simulation and integration (R6)."""

import doctest

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma

from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk import btyd
from services.scoring.core.risk.btyd import Parameters
from services.scoring.core.value import spend as spending
from services.scoring.core.value.lifetime import lifetime
from services.scoring.core.value.money import money
from services.scoring.core.value.spend import Spend, expected_spend, fit, likeliest, log_likelihood
from tests.unit.scoring.core.histories import columns, real

PUBLISHED = Spend(p=6.25, q=3.74, v=15.44)
"""Fader & Hardie (2013), note 025: CDNOW, 946 customers with a repeat purchase."""


def test_the_example_in_the_docstring_runs() -> None:
    found = doctest.testmod(spending, extraglobs={"np": np})
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize(("count", "mean"), [(1.0, 5.0), (2.0, 22.35), (7.0, 80.0)])
def test_the_expectation_is_the_integral_over_what_is_not_known(count: float, mean: float) -> None:
    """Uses Bayes' rule, numerically, and no formula of the paper."""
    p, q, v = PUBLISHED.p, PUBLISHED.q, PUBLISHED.v

    def joint(nu: float) -> float:
        seen = gamma.pdf(mean, p * count, scale=1 / (nu * count))
        return float(seen * gamma.pdf(nu, q, scale=1 / v))

    total = quad(joint, 0, np.inf)[0]
    expected = quad(lambda nu: p / nu * joint(nu), 1e-9, np.inf)[0] / total
    one, own = np.array([count]), np.array([mean])
    assert expected_spend(PUBLISHED, one, own)[0] == pytest.approx(expected, rel=1e-4)
    assert np.exp(log_likelihood(PUBLISHED, one, own))[0] == pytest.approx(total, rel=1e-4)


def test_a_fit_finds_what_made_the_purchases() -> None:
    draw = np.random.default_rng(3)
    nu = draw.gamma(PUBLISHED.q, 1 / PUBLISHED.v, 20_000)
    count = draw.integers(1, 12, 20_000).astype(np.float64)
    mean = draw.gamma(PUBLISHED.p * count, 1 / (nu * count))
    found = fit(count, mean)
    assert found.p == pytest.approx(PUBLISHED.p, rel=0.1)
    assert found.q == pytest.approx(PUBLISHED.q, rel=0.1)
    assert found.v == pytest.approx(PUBLISHED.v, rel=0.15)


Histories = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def cdnow() -> Histories:
    """Provide x, t_x and age in weeks of all 23,570 customers after 39 weeks.

    They are counted as in the papers. With them come number and mean of the repeat purchases of the
    customers who have any of value.
    """
    events = real("cdnow")
    if events is None:
        pytest.skip("cdnow is not here: set EBBWATCH_DATA to the folder of the data sets")
    start = np.floor(events.time.min() / DAY_S)
    day = (np.floor(events.time / DAY_S) - start).astype(int)
    daily = np.zeros((int(events.row.max()) + 1, 273))
    seen = day < 273
    np.add.at(daily, (events.row[seen], day[seen]), events.amount[seen])
    bought = np.zeros(daily.shape, bool)
    bought[events.row[seen], day[seen]] = True
    first, last = bought.argmax(axis=1), 272 - bought[:, ::-1].argmax(axis=1)
    count = bought.sum(axis=1) - 1.0
    total = np.where(np.arange(273) > first[:, None], daily, 0.0).sum(axis=1)
    chosen = (count > 0) & (total > 0)
    return (count, (last - first) / 7, (272 - first) / 7, count[chosen],
            total[chosen] / count[chosen])  # fmt: skip


@pytest.mark.public_sets
def test_R6_the_fit_on_cdnow_is_the_published_one(cdnow: Histories) -> None:
    """The fit uses all customers; the papers use a sample of 2,357."""
    found = fit(cdnow[3], cdnow[4])
    population = found.p * found.v / (found.q - 1)
    published = PUBLISHED.p * PUBLISHED.v / (PUBLISHED.q - 1)
    assert population == pytest.approx(published, rel=0.1)
    assert found.p == pytest.approx(PUBLISHED.p, rel=0.25)
    assert found.q == pytest.approx(PUBLISHED.q, rel=0.25)
    # BG/NBD, Fader, Hardie & Lee (2005), table 2; per customer, its log-likelihood is -4.0655.
    buying = btyd.fit(*cdnow[:3])
    assert (buying.r, buying.alpha) == pytest.approx((0.243, 4.414), rel=0.1)
    assert buying.a / (buying.a + buying.b) == pytest.approx(0.793 / (0.793 + 2.426), rel=0.1)
    mean = btyd.log_likelihood(buying, *cdnow[:3]).mean()
    assert mean == pytest.approx(-9_582.4 / 2_357, rel=0.01)


LIVES = tuple(
    np.array(column)
    for column in (
        (0.0, 1.0, 2.0, 10.0, 5.0), (0.0, 10.0, 30.43, 35.0, 8.0), (38.86, 38.0, 38.86, 38.5, 30.0)
    )
)  # fmt: skip
"""x, t_x, age in weeks of five customers."""


@pytest.mark.public_sets
@pytest.mark.parametrize(
    ("model", "fitted", "alive", "expected"),
    [
        (
            "bg",
            (0.251624011, 4.788945170, 0.723433036, 2.161086981),
            (1.0, 0.44142852, 0.72937938, 0.86667622, 0.04255801),
            (0.20007799, 0.43085974, 1.23278797, 6.40879386, 0.19634184),
        ),
        (
            "mbg",
            (0.637139739, 7.310290170, 0.807474086, 1.228394024),
            (0.31979138, 0.36350475, 0.70143904, 0.85654273, 0.04841656),
            (0.14793212, 0.42608203, 1.28099196, 6.09827476, 0.21882975),
        ),
    ],
)
def test_R6_the_fit_of_cdnow_equals_an_independent_implementation(
    cdnow: Histories,
    model: btyd.Model,
    fitted: tuple[float, ...],
    alive: tuple[float, ...],
    expected: tuple[float, ...],
) -> None:
    """Compares with `lifetimes` 0.11.3 (PyPI), fitted on the same columns without a penalty.

    The classes are `BetaGeoFitter` and `ModifiedBetaGeoFitter`; compared are also their forecasts
    for five customers and 39 weeks.
    """
    found = btyd.fit(*cdnow[:3], model=model)
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx(fitted, rel=1e-4)
    assert btyd.alive_probability(found, *LIVES).tolist() == pytest.approx(alive, rel=1e-4)
    x, t_x, age = LIVES
    foretold = btyd.expected_purchases(found, x, t_x, age, 39.0)
    assert foretold.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.public_sets
def test_R6_the_value_of_a_purchase_equals_an_independent_implementation(
    cdnow: Histories,
) -> None:
    """Compares with `lifetimes` 0.11.3, its `GammaGammaFitter`, on the same 9,450 customers."""
    found = likeliest(cdnow[3], cdnow[4])
    assert len(cdnow[3]) == 9_450
    assert (found.p, found.q, found.v) == pytest.approx((6.2753586, 3.6244502, 14.983689), rel=1e-3)
    own = expected_spend(found, np.array([2.0, 7.0, 1.0]), np.array([22.35, 80.0, 5.0]))
    assert own.tolist() == pytest.approx((24.680884, 77.509708, 14.090731), rel=1e-3)


def test_too_few_customers_or_amounts_are_no_base() -> None:
    with pytest.raises(ValueError, match="at least 20"):
        fit(np.ones(19), np.ones(19))
    with pytest.raises(ValueError, match="above 0"):
        fit(np.ones(30), np.zeros(30))


def test_negative_net_amounts_count_as_nothing_and_break_nothing() -> None:
    """Refunds of 30 against purchases of 20: no value is negative, none is NaN."""
    events = columns(
        row=np.array([0, 0, 0, 1, 1]),
        time=np.array([10.0, 20.0, 30.0, 10.0, 30.0]) * DAY_S,
        kind=np.array([1, 1, 2, 1, 1]),
        amount=np.array([10.0, 10.0, 30.0, 10.0, 10.0]),
    )
    x = features(fold(empty(2), events), np.full(2, 40 * DAY_S))
    cash = money(x)
    assert cash.net.tolist() == [-10.0, 20.0]
    assert cash.mean.tolist() == [0.0, 10.0]
    buying = Parameters(r=0.5, alpha=28.0, a=0.25, b=5.0, model="mbg")
    life = lifetime(x, buying, PUBLISHED, 365)
    assert 0 < life.value[0] < life.value[1]


def test_one_time_buyers_are_not_surely_alive_with_mbg() -> None:
    events = columns(row=np.array([0]), time=np.array([0.0]), amount=np.array([10.0]))
    x = features(fold(empty(1), events), np.array([400 * DAY_S]))
    for model, sure in (("bg", True), ("mbg", False)):
        buying = Parameters(r=0.5, alpha=28.0, a=0.25, b=5.0, model=model)  # type: ignore[arg-type]
        alive = lifetime(x, buying, None, 365).alive[0]
        assert bool(alive == 1.0) is sure


def test_prospects_have_no_lifetime_value() -> None:
    buying = Parameters(r=0.5, alpha=28.0, a=0.25, b=5.0, model="mbg")
    x = features(empty(1), np.array([0.0]))
    life = lifetime(x, buying, PUBLISHED, 365)
    assert np.isnan([life.alive[0], life.purchases[0], life.value[0]]).all()
