"""Signs of a change: rarer purchases, fewer interactions, smaller orders, and their certainty."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import gamma

from services.scoring.core.features.events import DAY_S, Kind
from services.scoring.core.risk.reason_facts import MONTH_DAYS
from services.scoring.core.signs.change_tests import (
    CLUMPING,
    GAPS_BEFORE_MIN,
    GAPS_COMPARED,
    INTERACTIONS_MIN,
    ORDER_LIVES,
    ORDERS_MIN,
    ORDERS_RECENT_MIN,
    PRICED_MIN,
    SPREAD_MIN,
    VARIATION_MIN,
    gap_chance,
    interaction_chance,
    order_value_chance,
)
from services.scoring.core.signs.detectors import (
    CHANCE_ENDS,
    CHANCE_GAPS,
    CHANCE_LEVEL,
    FALLEN,
    SILENCE_SHARE,
    SLOWER,
)
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.detector_inputs import holding, seen, signs
from tests.unit.scoring.core.feature_rows import rows, seen_at
from tests.unit.scoring.core.histories import columns, purchases, together

SLOWED, QUIETER, SMALLER = "frequency_falling", "interaction_falling", "value_falling"
GAPS_END, LEVEL_END = CHANCE_ENDS * CHANCE_GAPS, CHANCE_ENDS * CHANCE_LEVEL
BUYS = {"purchase_days": 10.0, "gap_mean_days": 10.0, "gap_recent_days": 10.0}
"""A customer who buys every ten days, so that a lapse takes forty."""


# Gaps between purchase days.


def gaps(before: list[float], newest: float, silence: float = 0.0) -> Floats:
    """Return X of gaps of these lengths, followed by the newest three with this mean length."""
    every = np.array([*before, *[newest] * GAPS_COMPARED])
    return rows(
        purchase_days=len(every) + 1.0, recency_days=silence,
        gap_mean_days=every.mean(), gap_std_days=every.std(), gap_longest_days=every.max(),
        gap_recent_days=every[-12:].mean(), gap_last_days=newest,
        gap_second_last_days=newest, gap_third_last_days=newest,
    )  # fmt: skip


def test_the_chance_of_such_gaps_by_hand() -> None:
    """Gaps of 5 and 15 in turn: mean 10, variation 1/2, so that each is a sum of four waits of 2.5.

    That three take longer than 60 days is then that at most 11 waits of a Poisson process end in 60
    days, of which 24 are expected.
    """
    days = np.cumsum([100, 5, 15, 5, 15, 5, 15, 20, 20, 20])
    chance, recent, level = gap_chance(seen_at(float(days[-1]) + 0.5, purchases(*days)))
    wanted = math.exp(-24) * sum(24**k / math.factorial(k) for k in range(12))
    assert chance == pytest.approx([wanted])
    assert (recent[0], level[0]) == (pytest.approx(20.0), pytest.approx(10.0))


def test_a_regular_past_is_no_promise() -> None:
    """Gaps of exactly ten days count as if they varied a little."""
    chance, _, _ = gap_chance(gaps([10.0] * 8, 15.0))
    shape = 1 / VARIATION_MIN**2
    assert chance == pytest.approx([gamma.sf(45.0, 3 * shape, scale=10.0 / shape)])


def test_an_unchanged_rhythm_is_likely() -> None:
    """The newest gaps are like those before: about even odds, far from any sign."""
    for before in ([10.0] * 8, [5.0, 15.0] * 5):
        chance, _, _ = gap_chance(gaps(before, 10.0))
        assert 0.4 < chance[0] < 0.6
        assert holding(seen(gaps(before, 10.0)), SLOWED) == [[]]


def test_one_pause_among_the_newest_is_no_slower_rhythm() -> None:
    """Of the three newest gaps the middle one counts; of two the longer counts no more."""
    days = np.cumsum([100, *[10] * 8, 10, 90, 10])
    chance, recent, level = gap_chance(seen_at(float(days[-1]) + 0.5, purchases(*days)))
    assert (recent[0], level[0]) == (pytest.approx(10.0), pytest.approx(10.0))
    assert chance[0] > 0.4
    days = np.cumsum([100, *[10] * 8, 30, 90, 10])
    assert gap_chance(seen_at(float(days[-1]) + 0.5, purchases(*days)))[1] == pytest.approx(
        [70 / 3]
    )


def test_gaps_need_enough_before_them() -> None:
    enough = gaps([10.0] * GAPS_BEFORE_MIN, 40.0)
    too_few = gaps([10.0] * (GAPS_BEFORE_MIN - 1), 40.0)
    assert holding(seen(enough)) == [[SLOWED]]
    assert np.isnan(gap_chance(too_few)[0]).all()
    assert holding(seen(too_few), SLOWED) == [[]]


def slow(chance: float) -> float:
    """Return newest gaps that are as long by chance this often, after gaps of 5 and 15 in turn."""
    shape = 1 / max(0.5, VARIATION_MIN) ** 2
    return float(gamma.isf(chance, 3 * shape, scale=10.0 / shape)) / 3


def test_frequency_falling_begins_at_one_level_and_ends_at_another() -> None:
    before = [5.0, 15.0] * 4
    assert slow(GAPS_END * 1.01) >= SLOWER * 10.0, "the chance decides here, not the change"
    assert holding(seen(gaps(before, slow(CHANCE_GAPS / 1.01)))) == [[SLOWED]]
    assert holding(seen(gaps(before, slow(CHANCE_GAPS * 1.01)))) == [[]]
    assert holding(seen(gaps(before, slow(CHANCE_GAPS * 1.01))), SLOWED) == [[SLOWED]]
    assert holding(seen(gaps(before, slow(GAPS_END / 1.01))), SLOWED) == [[SLOWED]]
    assert holding(seen(gaps(before, slow(GAPS_END * 1.01))), SLOWED) == [[]]


def test_a_small_change_is_none_however_sure() -> None:
    before = [10.0] * 8
    little = gaps(before, 0.999 * SLOWER * 10.0)
    assert gap_chance(little)[0][0] <= GAPS_END, "sure enough for a sign that holds"
    assert holding(seen(little), SLOWED) == [[]]
    assert holding(seen(gaps(before, 1.001 * SLOWER * 10.0)), SLOWED) == [[SLOWED]]


def test_who_is_gone_does_not_buy_more_seldom() -> None:
    """Beyond the lapse length there is only the silence."""
    x = gaps([10.0] * 12, 30.0)
    length = float(seen(x).silences.days[0])
    assert holding(seen(gaps([10.0] * 12, 30.0, 0.3 * length))) == [[SLOWED]]
    gone = gaps([10.0] * 12, 30.0, length)
    assert holding(seen(gone), SLOWED) == [["silence_beyond_rhythm"]]


def test_a_rhythm_that_falls_from_weekly_to_every_third_week() -> None:
    """The third such gap at the latest shows it; three purchases are quoted, and nine before."""
    days = [*range(0, 71, 7), 91, 112, 133]
    found = signs(seen(seen_at(133.5, purchases(*days))))
    assert [one.code for one in found] == [SLOWED]
    facts = {"purchases_recent": 3.0, "purchases_before": 9.0, "window_days": 63.0}
    assert found[0].facts == pytest.approx(facts)
    shape = 1 / VARIATION_MIN**2
    assert 1 - found[0].strength == pytest.approx(gamma.sf(63, 3 * shape, scale=7 / shape))


# Interactions.

LN2 = math.log(2)


def stopped(a_day: float, days: float, count: float = 100.0, silence: float = 0.0) -> Floats:
    """Return X of a constant stream of interactions that stopped so many days ago."""
    fades = {life: a_day * life / LN2 * 2 ** (-days / life) for life in (30, 90)}
    return rows(
        interactions=count, interaction_recency_days=days, interactions_decayed_30=fades[30],
        interactions_decayed_90=fades[90], recency_days=silence, **BUYS,
    )  # fmt: skip


def test_a_constant_stream_is_at_its_own_level() -> None:
    """One every second day is measured as 0.5 a day, now and before; nothing has changed."""
    chance, recent, level = interaction_chance(stopped(0.5, 0.0))
    assert (recent[0], level[0]) == (pytest.approx(0.5), pytest.approx(0.5))
    # The memory is exactly at its expectation: even odds, doubled since two tests are made.
    assert chance == pytest.approx([1.0])


def test_the_chance_of_such_quiet_by_hand() -> None:
    """Half a month of nothing after two a day: the silence alone is hardly due to chance."""
    chance, recent, level = interaction_chance(stopped(2.0, 14.0))
    assert level == pytest.approx([2.0])
    assert chance == pytest.approx([2 * math.exp(-2 * 14 / CLUMPING)])
    assert recent == pytest.approx([CLUMPING / 14])


def test_the_chance_of_so_few_by_hand() -> None:
    """Interactions are too rare: the memory of thirty days is 4 below that of a rate of 1."""
    expected = 30 / LN2
    x = rows(
        interactions=100.0, interaction_recency_days=0.0, interactions_decayed_30=expected - 16.0,
        interactions_decayed_90=expected - 16.0 + 60 / LN2,
    )  # fmt: skip
    chance, recent, level = interaction_chance(x)
    assert level == pytest.approx([1.0])
    deviate = -16.0 / math.sqrt(CLUMPING * expected / 2)
    assert chance == pytest.approx([2 * NormalDist().cdf(deviate)])
    assert recent == pytest.approx([(expected - 16.0) * LN2 / 30])


def test_interactions_need_a_level_to_fall_from() -> None:
    assert holding(seen(stopped(2.0, 30.0, INTERACTIONS_MIN))) == [[QUIETER]]
    assert holding(seen(stopped(2.0, 30.0, INTERACTIONS_MIN - 1)), QUIETER) == [[]]
    # A new customer has no months before: the long memory holds no more than the short one.
    fresh = rows(
        interactions=40.0, interaction_recency_days=9.0,
        interactions_decayed_30=20.0, interactions_decayed_90=20.0, recency_days=0.0, **BUYS,
    )  # fmt: skip
    assert np.isnan(interaction_chance(fresh)[0]).all()
    assert holding(seen(fresh), QUIETER) == [[]]


def quiet(chance: float) -> Floats:
    """Return X of a silence that is as long by chance this often, after two interactions a day."""
    return stopped(2.0, CLUMPING * math.log(2 / chance) / 2)


def test_interaction_falling_begins_at_one_level_and_ends_at_another() -> None:
    assert interaction_chance(quiet(LEVEL_END))[1][0] <= FALLEN * 2, "the chance decides here"
    assert holding(seen(quiet(CHANCE_LEVEL / 1.01))) == [[QUIETER]]
    assert holding(seen(quiet(CHANCE_LEVEL * 1.01))) == [[]]
    assert holding(seen(quiet(CHANCE_LEVEL * 1.01)), QUIETER) == [[QUIETER]]
    assert holding(seen(quiet(LEVEL_END / 1.01)), QUIETER) == [[QUIETER]]
    assert holding(seen(quiet(LEVEL_END * 1.01)), QUIETER) == [[]]


def test_a_busy_customer_of_today_is_quoted_as_one() -> None:
    """A hundred a day, the last of them five minutes ago, is not quoted as one and a half a day."""
    _, recent, level = interaction_chance(busy(1.0))
    assert (recent[0], level[0]) == (pytest.approx(100.0), pytest.approx(100.0))


def busy(share: float) -> Floats:
    """Return X of a hundred interactions a day, now at this share of it: beyond chance."""
    expected = 100 * 30 / LN2
    short = share * expected
    return rows(
        interactions=9_999.0, interaction_recency_days=0.0, interactions_decayed_30=short,
        interactions_decayed_90=short + 100 * 60 / LN2, recency_days=0.0, **BUYS,
    )  # fmt: skip


def test_a_small_fall_of_interactions_is_none_however_sure() -> None:
    assert interaction_chance(busy(FALLEN))[0][0] < CHANCE_LEVEL
    assert holding(seen(busy(0.999 * FALLEN)), QUIETER) == [[QUIETER]]
    assert holding(seen(busy(1.001 * FALLEN)), QUIETER) == [[]]


def test_who_does_not_buy_either_is_silent_not_quieter() -> None:
    """The customer buys every ten days, so that half the lapse length is twenty."""
    early, late = 2 * SILENCE_SHARE * 19.9, 2 * SILENCE_SHARE * 20.0
    assert holding(seen(stopped(2.0, 19.0, silence=early)), QUIETER) == [[QUIETER]]
    assert holding(seen(stopped(2.0, 19.0, silence=late)), QUIETER) == [["silence_beyond_rhythm"]]


def test_interactions_that_stop_while_purchases_go_on() -> None:
    """Daily for half a year, then none for three weeks; purchases every week."""
    visits = columns(time=(np.arange(180) + 0.25) * DAY_S, kind=np.full(180, Kind.INTERACTION))
    x = seen_at(200.25, together(purchases(*range(0, 200, 7)), visits))
    found = signs(seen(x))
    assert [one.code for one in found] == [QUIETER]
    # The visits' weights of both memories as they were at the last one, on day 179.
    long, short = (sum(2 ** (-(179 - day) / life) for day in range(180)) for life in (90, 30))
    level = (long - short) * LN2 / 60
    facts = {
        "interactions_recent": MONTH_DAYS * CLUMPING / 21,
        "interactions_before": MONTH_DAYS * level,
    }
    assert found[0].facts == pytest.approx(facts)
    assert found[0].strength == pytest.approx(1 - 2 * math.exp(-level * 21 / CLUMPING))


# Value of orders.

RECENT = 8.0
"""Effective orders of each memory, unless a test sets others."""


def orders(
    shares: tuple[float, ...] = (1.0,) * len(ORDER_LIVES),
    *,
    spread: float = 0.5,
    count: float = 20.0,
    recent: float = RECENT,
    silence: float = 0.0,
    priced: float = 1.0,
) -> Floats:
    """Return X of orders of usually 50 (geometric mean).

    Each memory holds `recent` effective orders, at these shares of the mean order, shortest first.
    """
    mean = 50.0 * math.exp(max(spread, SPREAD_MIN) ** 2 / 2)
    memories = {
        name: value
        for life, share in zip(ORDER_LIVES, shares, strict=True)
        for name, value in (
            (f"purchases_decayed_{life}", recent / 2),
            (f"amount_decayed_{life}", share * mean * recent / 2),
        )
    }
    return rows(
        purchases=count, spent=60.0 * priced * count, order_value=60.0, order_value_usual=50.0,
        order_value_variance=spread**2, recency_days=silence, **BUYS, **memories,
    )  # fmt: skip


def falling(share: float, **given: float) -> Floats:
    """Return X of recent orders at this share in every memory."""
    return orders((share,) * len(ORDER_LIVES), **given)


def test_the_chance_of_such_orders_by_hand() -> None:
    """Spread 0.5: the mean order is 50 e^(1/8) = 56.66; half of it, eight times.

    ln 0.5 = -0.693, standard error sqrt((e^0.25 - 1) / 8) = 0.1884: 3.68 of them; three memories.
    """
    chance, recent, usual = order_value_chance(falling(0.5))
    assert usual == pytest.approx([56.657], abs=1e-3)
    assert recent == pytest.approx([28.328], abs=1e-3)
    assert chance == pytest.approx([3 * NormalDist().cdf(-0.693147 / 0.188418)], rel=1e-3)


@pytest.mark.parametrize("fallen", range(len(ORDER_LIVES)))
def test_the_memory_that_has_fallen_is_quoted(fallen: int) -> None:
    shares = tuple(0.4 if at == fallen else 1.0 for at in range(len(ORDER_LIVES)))
    chance, recent, usual = order_value_chance(orders(shares))
    assert recent / usual == pytest.approx([0.4])
    np.testing.assert_allclose(chance, order_value_chance(falling(0.4))[0])


def test_equal_orders_are_no_promise() -> None:
    """Orders of exactly 50 count as if they varied a little."""
    chance, _, _ = order_value_chance(falling(0.6, spread=0.0))
    error = math.sqrt(math.expm1(SPREAD_MIN**2) / RECENT)
    wanted = len(ORDER_LIVES) * NormalDist().cdf(math.log(0.6) / error)
    assert chance == pytest.approx([wanted], rel=1e-6)


@pytest.mark.parametrize(
    ("count", "recent", "priced", "wanted"),
    [
        (ORDERS_MIN, ORDERS_RECENT_MIN, PRICED_MIN, [[SMALLER]]),
        (ORDERS_MIN - 1, ORDERS_RECENT_MIN, PRICED_MIN, [[]]),
        (ORDERS_MIN, ORDERS_RECENT_MIN - 0.01, PRICED_MIN, [[]]),
        # Where purchases come without amounts, a mean per purchase is not a mean per order.
        (ORDERS_MIN, ORDERS_RECENT_MIN, PRICED_MIN - 0.01, [[]]),
    ],
)
def test_orders_need_enough_of_them(
    count: float, recent: float, priced: float, wanted: list[list[str]]
) -> None:
    x = falling(0.1, count=count, recent=recent, priced=priced + 1e-9)
    assert holding(seen(x), SMALLER) == wanted


def test_orders_for_nothing_have_no_logarithm() -> None:
    with np.errstate(divide="ignore"):
        assert np.isnan(order_value_chance(falling(0.0))[0]).all()
    assert holding(seen(falling(0.0)), SMALLER) == [[]]


def test_value_falling_begins_at_one_level_and_ends_at_another() -> None:
    error = math.sqrt(math.expm1(0.25) / 4)

    def small(chance: float) -> Floats:
        deviate = NormalDist().inv_cdf(chance / len(ORDER_LIVES))
        return falling(math.exp(deviate * error), recent=4.0)

    assert order_value_chance(small(CHANCE_LEVEL))[0] == pytest.approx([CHANCE_LEVEL])
    _, recent, usual = order_value_chance(small(LEVEL_END * 1.01))
    assert recent[0] <= FALLEN * usual[0], "the chance decides here, not the change"
    assert holding(seen(small(CHANCE_LEVEL / 1.01))) == [[SMALLER]]
    assert holding(seen(small(CHANCE_LEVEL * 1.01))) == [[]]
    assert holding(seen(small(CHANCE_LEVEL * 1.01)), SMALLER) == [[SMALLER]]
    assert holding(seen(small(LEVEL_END / 1.01)), SMALLER) == [[SMALLER]]
    assert holding(seen(small(LEVEL_END * 1.01)), SMALLER) == [[]]


def test_a_small_fall_of_value_is_none_however_sure() -> None:
    many = {"spread": 0.2, "recent": 200.0}
    assert order_value_chance(falling(FALLEN, **many))[0][0] < CHANCE_LEVEL
    assert holding(seen(falling(0.999 * FALLEN, **many)), SMALLER) == [[SMALLER]]
    assert holding(seen(falling(1.001 * FALLEN, **many)), SMALLER) == [[]]


def test_who_is_gone_orders_nothing_smaller() -> None:
    """The customer buys every ten days: a lapse takes forty."""
    assert holding(seen(falling(0.1, silence=19.0))) == [[SMALLER]]
    assert holding(seen(falling(0.1, silence=40.0)), SMALLER) == [["silence_beyond_rhythm"]]


def test_orders_that_fall_to_a_third() -> None:
    """Weekly orders of 90, 100 or 110; for two months now of a third of it."""
    days = np.arange(40) * 7 + 0.5
    amounts = np.tile([90.0, 100.0, 110.0, 100.0], 10)
    amounts[32:] /= 3
    x = seen_at(274.0, columns(time=days * DAY_S, amount=amounts))
    found = signs(seen(x))
    assert [one.code for one in found] == [SMALLER]
    assert found[0].strength >= 1 - CHANCE_LEVEL
    # Mostly the small ones; the usual order lies between both, nearer to the many.
    assert 33 < found[0].facts["order_value_recent"] < 66
    assert 80 < found[0].facts["order_value_before"] < 100
