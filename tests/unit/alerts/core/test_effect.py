"""The effect report against a simulation with a known truth, and against worked examples."""

import functools
import random
from math import exp, isnan

import numpy as np
import pytest

from services.alerts.core.effect import MeasuredSubject, by, compare, growth, save_rate
from services.alerts.core.holdout import drawn
from services.alerts.core.intervals import anytime, mean_difference, newcombe, wilson
from services.alerts.handlers.measure_effect import picking
from tests.unit.alerts.samples import day

SEEDS = range(100)
"""The seeds of the simulations, fixed before the first run."""
CUSTOMERS = 1_500
SHARE = 0.3
HORIZON_DAYS = 28.0
RATES = (0.005, 0.02, 0.05)
"""Purchases a day of three kinds of warned customers: nearly gone, rare, frequent."""
SPENDING = 40.0


def return_probability(factor: float) -> float:
    """Return the probability of a purchase within the horizon.

    A treatment multiplies the rate.
    """
    return sum(1 - exp(-rate * factor * HORIZON_DAYS) for rate in RATES) / len(RATES)


@functools.cache
def simulate(seed: int, factor: float) -> list[MeasuredSubject]:
    """Return warned customers who buy as Poisson processes; a task multiplies the rate by `factor`.

    The system itself draws the customers who are held out.
    """
    chance = random.Random(seed)  # noqa: S311 (a simulation)
    subjects = []
    for number in range(CUSTOMERS):
        treated = not drawn("default", f"{seed}-{number}", SHARE)
        rate = chance.choice(RATES) * (factor if treated else 1.0)
        bought, at = 0, chance.expovariate(rate)
        while at <= HORIZON_DAYS:
            bought += 1
            at += chance.expovariate(rate)
        spent = sum(chance.lognormvariate(0, 0.8) * SPENDING for _ in range(bought))
        subjects.append(
            MeasuredSubject(
                treated, bought > 0, spent, day(number % 90), "call", "silence", None, None, []
            )
        )
    return subjects


def test_the_intervals_cover_a_planted_effect() -> None:
    """At least 90 of 100 intervals, of customers kept and of money, cover it: the promise is 95."""
    truth = return_probability(1.6) - return_probability(1.0)
    spent = sum(RATES) / len(RATES) * HORIZON_DAYS * 0.6 * SPENDING * exp(0.8**2 / 2)
    assert truth > 0.1
    covered = claimed = money = 0
    for seed in SEEDS:
        effect = compare(simulate(seed, 1.6), picking())
        covered += effect.interval.low <= truth <= effect.interval.high
        money += effect.revenue_interval.low <= spent <= effect.revenue_interval.high
        claimed += effect.claim == "helps"
    assert covered >= 90
    assert money >= 90
    assert claimed >= 60


def test_no_effect_is_claimed_where_none_was_planted() -> None:
    """An effect is claimed in at most 10 of 100 simulations."""
    effects = [compare(simulate(seed, 1.0), picking()) for seed in SEEDS]
    assert sum(effect.claim in {"helps", "harms"} for effect in effects) <= 10
    assert sum(effect.interval.without(0.0) for effect in effects) <= 10


def test_looking_every_day_does_not_find_an_effect_that_is_not_there() -> None:
    """The sequential reading claims an effect at any of 90 daily checks in at most 10 of 100 runs.

    The interval for a single check would err more often.
    """
    claims = single = 0
    for seed in SEEDS:
        subjects = simulate(seed, 1.0)
        looks = [compare_counts(subjects[:n]) for n in range(150, CUSTOMERS + 1, 15)]
        claims += any(anytime(*look).without(0.0) for look in looks)
        single += any(newcombe(*look).without(0.0) for look in looks)
    assert claims <= 10
    assert single > claims


def compare_counts(subjects: list[MeasuredSubject]) -> tuple[int, int, int, int]:
    treated = [s for s in subjects if s.treated]
    others = [s for s in subjects if not s.treated]
    return (
        sum(s.returned for s in treated),
        len(treated),
        sum(s.returned for s in others),
        len(others),
    )


def subject(
    *, treated: bool, returned: bool, playbook: str = "a", at: float = 0.0
) -> MeasuredSubject:
    return MeasuredSubject(
        treated, returned, 10.0 * returned, day(at), playbook, "c", "vip", None, ["s"]
    )


def test_with_few_subjects_nothing_is_claimed() -> None:
    few = [subject(treated=n % 2 == 0, returned=n % 2 == 0) for n in range(98)]
    effect = compare(few, picking())
    assert (effect.uplift, effect.claim) == (1.0, "not_enough_data")
    assert compare([*few, *few], picking()).claim == "helps"
    swapped = [subject(treated=n % 2 == 0, returned=n % 2 == 1) for n in range(200)]
    assert compare(swapped, picking()).claim == "harms"


def test_without_a_holdout_there_is_no_comparison() -> None:
    effect = compare([subject(treated=True, returned=True)] * 500, picking())
    assert (effect.uplift, effect.saved, effect.claim) == (None, None, "not_enough_data")
    assert effect.interval == (-1.0, 1.0)
    assert isnan(effect.revenue_interval.low)
    assert compare([], picking()).treated.rate is None


def test_the_effect_is_measured_per_group() -> None:
    """R19, R28: per playbook, segment and period."""
    subjects = [
        subject(treated=n % 2 == 0, returned=n % 4 == 0, playbook="ab"[n % 3 == 0], at=n)
        for n in range(120)
    ]
    parts = by("playbook", subjects, picking())
    assert {name: e.treated.n + e.held_out.n for name, e in parts.items()} == {"a": 80, "b": 40}
    assert list(by("period", subjects, picking())) == ["2017-10", "2017-11", "2017-12", "2018-01"]
    assert by("segment", subjects, picking())["s"].treated.n == 60
    assert [point.at for point in growth(subjects)] == [day(29), day(59), day(90), day(119)]
    assert growth(subjects)[-1].uplift == compare(subjects, picking()).uplift


def test_a_save_rate_moves_from_what_was_assumed_to_what_was_measured() -> None:
    some = [subject(treated=n % 2 == 0, returned=n % 4 == 0) for n in range(200)]
    many = some * 100
    assert save_rate(0.1, compare([], picking())) == 0.1
    assert (
        0.1
        < save_rate(0.1, compare(some, picking()))
        < save_rate(0.1, compare(many, picking()))
        < 0.5
    )
    assert save_rate(0.1, compare(many, picking())) == pytest.approx(0.5, abs=0.01)


def test_intervals_agree_with_published_examples() -> None:
    """Newcombe 1998, table II, example (a): 56/70 against 48/80."""
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(0, 20)
    assert (low, high) == pytest.approx((0.0, 0.1611), abs=1e-4)
    rng = np.random.default_rng(1)
    a, b = rng.normal(2, 1, 400), rng.normal(1, 1, 400)
    low, high = mean_difference(a, b, picking())
    exact = 1.96 * (a.var(ddof=1) / 400 + b.var(ddof=1) / 400) ** 0.5
    assert high - low == pytest.approx(2 * exact, rel=0.1)
