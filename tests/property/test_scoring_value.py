"""One hostile amount hardly moves other customers' value, and values stay within the base's
support."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk.expected_value import expected_value
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.value import quality
from services.scoring.core.value.base import Base, measure
from services.scoring.core.value.lifetime import Lifetime, lifetime
from services.scoring.core.value.money import money
from services.scoring.core.value.policy import ValuePolicy
from services.scoring.core.value.quality import AMOUNTS_IMPROBABLE
from services.scoring.core.value.spend import (
    MEAN_MIN,
    expected_spend,
    fences,
    fit,
    likeliest,
)
from shared.kernel.arrays import Floats, Ints
from tests.unit.scoring.core.histories import columns, real

INFLUENCE_MAX = 0.75
"""By how much one customer of 50 may move the value of another's purchase, as a share of it or of
the base's mean purchase, whichever is greater. A genuine customer at the fence moves as much."""
MEDIAN_MAX = 0.2
"""The same bound for the median customer, as a share of their own value."""
AMOUNT_MAX = 999_999_999_999_999.99
"""The largest amount that ingest accepts."""
NOW = 366 * DAY_S


@dataclass(frozen=True, slots=True)
class Purchases:
    """Purchases of `customers` customers; columns of one length."""

    customers: int
    row: Ints
    time: Floats
    amount: Floats


@dataclass(frozen=True, slots=True)
class Valued:
    """The results of the real cores."""

    x: Floats
    base: Base
    life: Lifetime

    @property
    def each(self) -> Floats:
        """Return the expected value of a purchase, by customer."""
        return self.life.value / self.life.purchases


def drawn(seed: int, customers: int) -> Purchases:
    """Draws a base by the model's own assumptions, with parameters as wide as the public sets'."""
    draw = np.random.default_rng(seed)
    p, q = draw.uniform(0.5, 8.0), draw.uniform(2.5, 8.0)
    row = np.repeat(np.arange(customers), draw.integers(1, 8, customers))
    nu = draw.gamma(q, 1 / (10 * q), customers)
    amount = np.maximum(draw.gamma(p, 1 / nu[row]), 0.01).round(2)
    return Purchases(customers, row, draw.uniform(100, 365, len(row)) * DAY_S, amount)


def valued(of: Purchases, refunds: Floats | None = None) -> Valued:
    n, row, kind = of.customers, of.row, np.ones(len(of.row))
    time, amount = of.time, of.amount
    if refunds is not None:
        row, time = np.append(row, np.arange(n)), np.append(time, np.full(n, NOW))
        kind, amount = np.append(kind, np.full(n, 2)), np.append(amount, refunds)
        kept = amount > 0
        row, time, kind, amount = row[kept], time[kept], kind[kept], amount[kept]
    events = columns(row=row, time=time, kind=kind, amount=amount)
    x = features(fold(empty(n), events), np.full(n, NOW))
    policy = ValuePolicy()
    base = measure(x, np.zeros(n), np.zeros((n, 16), np.uint32), policy, LapseClock())
    return Valued(x, base, lifetime(x, base.buying, base.spend, policy.horizon_days))


def flagged(found: Valued) -> list[bool]:
    n = len(found.x)
    reported = quality.flags(
        found.x, money(found.x), [None] * n, np.full(n, NOW), np.zeros(n, np.bool_),
        found.base.limits,
    )  # fmt: skip
    return [AMOUNTS_IMPROBABLE in flags for flags in reported]


AMOUNTS = st.one_of(
    st.sampled_from([0.0, 1e-9, 0.01, AMOUNT_MAX]),
    st.floats(-9 * np.log(10), np.log(AMOUNT_MAX)).map(lambda log: float(np.exp(log))),
)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    customers=st.integers(50, 99),
    hostile=AMOUNTS,
    which=st.integers(0, 10_000),
)
def test_one_hostile_amount_moves_no_other_customers_value_far(
    seed: int, customers: int, hostile: float, which: int
) -> None:
    honest = drawn(seed, customers)
    before = valued(honest)
    amount = honest.amount.copy()
    at = which % len(amount)
    amount[at] = hostile
    after = valued(Purchases(customers, honest.row, honest.time, amount))
    spend = before.base.spend
    assert spend is not None
    usual = spend.p * spend.v / (spend.q - 1)
    others = np.arange(customers) != honest.row[at]
    moved = np.abs(after.each - before.each)[others]
    assert (moved / np.maximum(before.each, usual)[others]).max() <= INFLUENCE_MAX
    assert np.median(moved / before.each[others]) <= MEDIAN_MAX
    _bounded(after)


def _bounded(found: Valued) -> None:
    """Checks that no value exceeds what the base supports for so many purchases."""
    spend = found.base.spend
    assert spend is not None
    assert spend.most is not None
    most = max(spend.most, spend.p * spend.v / (spend.q - 1))
    assert (found.life.value <= found.life.purchases * most * (1 + 1e-9)).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), which=st.integers(0, 49))
def test_an_absurd_amount_is_flagged_and_bounds_every_number_of_its_customer(
    seed: int, which: int
) -> None:
    """Its lifetime value, and its expected value, by which queues are ordered."""
    honest = drawn(seed, 50)
    assert sum(flagged(valued(honest))) <= 1
    amount = honest.amount.copy()
    amount[honest.row == which] = AMOUNT_MAX
    found = valued(Purchases(50, honest.row, honest.time, amount))
    assert flagged(found)[which]
    most = found.base.limits.amount
    purchases = float((honest.row == which).sum())
    expected = expected_value(found.x, 28, most)[which]
    assert 0 < expected <= 28 * purchases * most
    assert expected_value(found.x, 28)[which] > 1e9


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), which=st.integers(0, 49))
def test_who_was_refunded_all_has_no_value_of_another(seed: int, which: int) -> None:
    """One bought for an absurd amount; another returned everything."""
    honest = drawn(seed, 50)
    amount = honest.amount.copy()
    amount[honest.row == which] = AMOUNT_MAX
    refunds = np.zeros(50)
    back = (which + 1) % 50
    refunds[back] = honest.amount[honest.row == back].sum()
    found = valued(Purchases(50, honest.row, honest.time, amount), refunds)
    spend = found.base.spend
    assert spend is not None
    assert found.life.value[back] <= found.life.purchases[back] * spend.p * spend.v / (spend.q - 1)
    assert spend.p * spend.v / (spend.q - 1) < 3 * honest.amount.max()


def test_a_base_of_one_price_flags_no_customer_who_pays_twice_as_much() -> None:
    honest = drawn(1, 60)
    amount = np.full(len(honest.amount), 10.0)
    amount[honest.row == 0] = 20.0
    assert not any(flagged(valued(Purchases(60, honest.row, honest.time, amount))))


@pytest.mark.public_sets
@pytest.mark.parametrize(
    ("name", "noise"),
    [("cdnow", 0.004), ("completejourney", 0.009), ("clvtools_apparel", 0.034),
     ("online_retail_ii", 0.008)],
)  # fmt: skip
def test_the_fit_of_real_bases_is_that_of_plain_likelihood_within_noise(
    name: str, noise: float
) -> None:
    """`noise`: median change of expected spend between a base and bootstrap samples of it."""
    events = real(name)
    if events is None:
        pytest.skip(f"{name} is not here: set EBBWATCH_DATA to the folder of the data sets")
    n = int(events.row.max()) + 1
    x = features(fold(empty(n), events), np.full(n, events.time.max() + 1))
    cash = money(x)
    chosen = (cash.occasions > 0) & (cash.mean >= MEAN_MIN)
    count, mean = cash.occasions[chosen], cash.mean[chosen]
    robust, plain = fit(count, mean), likeliest(count, mean)
    low, high = fences(mean)
    assert ((mean < low) | (mean > high)).mean() < 0.005
    ours, theirs = (expected_spend(one, count, np.minimum(mean, high)) for one in (robust, plain))
    assert np.median(np.abs(ours / theirs - 1)) < noise
