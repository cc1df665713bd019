"""The choice between trees, baselines and blends, by later training cutoffs that are held back."""

from dataclasses import replace

import numpy as np
import pytest

from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.training.fit.backtest import Backtest
from services.scoring.training.fit.baselines import NAMES
from services.scoring.training.fit.blend import (
    FEW,
    FEW_ROWS,
    USUAL,
    Contender,
    choose,
    shift_to,
)
from shared.kernel.arrays import Floats
from tests.unit.scoring.training.histories import panel


def _past(noise: dict[str, float], shift: float = 0.0) -> tuple[Backtest, Floats]:
    """Return a backtest in which each contender's scores are the truth with noise (log-odds)."""
    rows = panel().only(range(len(panel().cutoffs) - 6, len(panel().cutoffs)))
    random = np.random.default_rng(3)
    truth = random.normal(0.0, 2.0, len(rows))
    rows = replace(rows, silent=random.random(len(rows)) < sigmoid(truth))
    of = {name: sigmoid(truth + random.normal(0.0, sd, len(rows))) for name, sd in noise.items()}
    model = sigmoid(logit(of.pop("lightgbm")) + shift)
    return Backtest(rows, logit(model), of), model


def _noise(**better: float) -> dict[str, float]:
    return {**dict.fromkeys((*NAMES, "lightgbm"), 4.0), **better}


def test_trees_that_know_more_are_handed_out() -> None:
    past, model = _past(_noise(lightgbm=0.1))
    assert choose(past, model, 10_000).contender.weight == 1.0


@pytest.mark.parametrize("name", ["bg_nbd", "mbg_nbd", "rfm_logistic"])
def test_a_baseline_that_knows_more_takes_their_place_and_is_named(name: str) -> None:
    past, model = _past(_noise(**{name: 0.1}))
    choice = choose(past, model, 10_000)
    assert choice.name == name
    assert f"best baseline {name}" in choice.reason
    np.testing.assert_array_equal(choice.apply(model, past.baselines), past.baselines[name])


def test_two_that_err_apart_are_blended() -> None:
    past, model = _past(_noise(lightgbm=1.5, mbg_nbd=1.5))
    choice = choose(past, model, 10_000)
    assert 0.0 < choice.contender.weight < 1.0
    assert choice.tried[choice.name] < min(choice.tried["lightgbm"], choice.tried["mbg_nbd"])


def test_a_level_that_moved_is_taken_from_who_has_seen_the_newest_weeks() -> None:
    past, model = _past(_noise(lightgbm=0.3, mbg_nbd=1.5), shift=2.0)
    choice = choose(past, model, 10_000)
    assert choice.contender.level == 1.0
    assert choice.tried[choice.name] < choice.tried["lightgbm"]


def test_without_a_later_cutoff_the_usual_blend_is_taken_and_said_so() -> None:
    whole, model = _past(_noise())
    past = whole.only([])
    many, few = choose(past, model[:0], FEW_ROWS), choose(past, model[:0], FEW_ROWS - 1)
    assert (many.contender, few.contender) == (USUAL, FEW)
    assert "too little history" in many.reason
    assert many.tried == {}


def test_a_blend_at_full_level_has_the_mean_of_the_baseline_and_keeps_its_order() -> None:
    random = np.random.default_rng(1)
    model, baseline = random.uniform(0, 1, 500), random.uniform(0, 0.3, 500)
    p = Contender(1.0, 1.0, "mbg_nbd").apply(model, baseline)
    assert p.mean() == pytest.approx(baseline.mean(), abs=1e-6)
    np.testing.assert_array_equal(np.argsort(p), np.argsort(model))


def test_the_ends_of_the_weights_are_the_two_themselves() -> None:
    model, baseline = np.array([0.1, 0.9]), np.array([0.4, 0.6])
    np.testing.assert_allclose(Contender(1.0, 0.0, "bg_nbd").apply(model, baseline), model)
    np.testing.assert_array_equal(Contender(0.0, 1.0, "bg_nbd").apply(model, baseline), baseline)


def test_names_say_what_is_in_them() -> None:
    assert Contender(1.0, 0.0, "bg_nbd").name == "lightgbm"
    assert Contender(0.0, 1.0, "bg_nbd").name == "bg_nbd"
    name = Contender(0.75, 0.5, "mbg_nbd").name
    assert name == "0.75 lightgbm + 0.25 mbg_nbd, level 0.5 mbg_nbd"


@pytest.mark.parametrize("mean", [0.001, 0.3, 0.999])
def test_a_shift_reaches_its_mean(mean: float) -> None:
    score = np.random.default_rng(2).normal(0.0, 3.0, 400)
    assert sigmoid(score + shift_to(score, mean)).mean() == pytest.approx(mean, abs=1e-6)
