"""Effects on single customers in a hundred planted worlds: what they save, and when they serve."""

import numpy as np
import pytest

from services.alerts.core.uplift.fit import UpliftFit, fit
from services.alerts.core.uplift.served import CustomerEffect, ServedEffects
from services.alerts.handlers.measure_effect import picking
from shared.kernel.arrays import Flags, Floats
from tests.unit.alerts.core.uplift_world import (
    PLAYBOOKS,
    TRIALS,
    Crowd,
    compared,
    crowd,
    row_of,
    saved,
    trials,
)

SEEDS = range(100)
"""The seeds of the simulations, fixed before the first run."""
MANY = 24_000
"""Trials of a large company over a year: enough for the gate."""


def effects_on(people: Crowd, made: UpliftFit) -> list[CustomerEffect]:
    """Return the effects that serve, each of the customer's own playbook."""
    served = ServedEffects(1, made)
    found = [
        served.of(row_of(features), PLAYBOOKS[playbook])
        for features, playbook in zip(people.features, people.playbook, strict=True)
    ]
    return [effect for effect in found if effect is not None]


@pytest.mark.timeout(600)
def test_learned_effects_save_more_than_the_playbooks_rates() -> None:
    """Of what an oracle saves; in at least 90 of 100 worlds more than by the playbooks' rates."""
    worlds = [compared(seed) for seed in SEEDS]
    assert sum(world.learned > world.rate for world in worlds) >= 90
    mean = {
        name: np.mean([getattr(world, name) for world in worlds])
        for name in ("learned", "rate", "risk", "chance")
    }
    counted = np.mean([world.counted for world in worlds], axis=0)
    assert mean["learned"] > 0.8 > mean["rate"] - 0.02
    assert mean["rate"] > mean["chance"] > mean["risk"]
    assert counted[0] > counted[1] + 0.05


@pytest.mark.timeout(900)
def test_with_many_trials_the_gate_lets_effects_serve_that_save_more() -> None:
    better = 0
    for seed in SEEDS:
        chance = np.random.default_rng(seed)
        made = fit(trials(chance, crowd(chance, MANY)), picking())
        people = crowd(chance, 1_000)
        own = np.array([effect.value for effect in effects_on(people, made)])
        rates = {known.playbook: known.rate for known in made.playbooks}
        rate = np.array([rates[PLAYBOOKS[number]] for number in people.playbook])
        ours, theirs = (saved(people, people.value * score) for score in (own, rate))
        better += made.decision == "serves" and ours > theirs
    assert better >= 90


@pytest.mark.timeout(600)
def test_where_all_respond_alike_the_rates_serve() -> None:
    served = 0
    for seed in SEEDS:
        chance = np.random.default_rng(seed)
        made = fit(trials(chance, crowd(chance, TRIALS, spread=0.0)), picking())
        served += made.decision == "serves"
    assert served <= 10


def withheld(people: Crowd, made: UpliftFit) -> Flags:
    return np.array([effect.harms for effect in effects_on(people, made)])


@pytest.mark.timeout(600)
def test_customers_whom_a_task_harms_get_none_and_the_helped_keep_theirs() -> None:
    """A task drives away steady customers; all other effects are as before."""
    harmed: list[Floats] = []
    for seed in range(10):
        chance = np.random.default_rng(seed)
        made = fit(trials(chance, crowd(chance, MANY, disturbed=-0.4)), picking())
        people = crowd(chance, 1_000, disturbed=-0.4)
        none = withheld(people, made)
        helped = people.effect > 0.03
        harmed.append(
            np.array([none[people.steady].mean(), none[helped].mean(), people.effect[none].mean()])
        )
    mean = np.mean(harmed, axis=0)
    assert mean[0] > 0.5
    assert mean[1] < 0.02
    assert mean[2] < -0.15
