"""The choice between trees, baselines and blends, by later training cutoffs that are held back."""

from dataclasses import replace

import numpy as np
import pytest

from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.fit.backtest import Backtest
from services.scoring.training.fit.baselines import NAMES, RHYTHM
from services.scoring.training.fit.blend import (
    FEW,
    FEW_ROWS,
    PRIOR_ALONE,
    RULE,
    USUAL,
    Contender,
    blended,
    choose,
    shift_to,
)
from tests.unit.scoring.training.histories import panel


def _past(trees: float, rhythm: float, shift: float = 0.0) -> Backtest:
    """Return a backtest in which both scores are the truth with noise (log-odds) of these sizes."""
    rows = panel().only(range(len(panel().cutoffs) - 6, len(panel().cutoffs)))
    random = np.random.default_rng(3)
    truth = random.normal(0.0, 2.0, len(rows))
    rows = replace(rows, silent=random.random(len(rows)) < sigmoid(truth))
    baselines = {name: sigmoid(truth + random.normal(0.0, 4.0, len(rows))) for name in NAMES}
    baselines[RHYTHM] = sigmoid(truth + random.normal(0.0, rhythm, len(rows)))
    return Backtest(rows, truth + random.normal(0.0, trees, len(rows)) + shift, baselines)


def test_trees_that_know_more_are_chosen() -> None:
    assert choose(_past(0.1, 4.0), 10_000).contender.weight == 1.0


def test_a_prior_that_knows_more_takes_their_place_and_is_named() -> None:
    past = _past(4.0, 0.1)
    choice = choose(past, 10_000)
    assert choice.contender == PRIOR_ALONE
    assert choice.name == "mbg_nbd"
    assert "mbg_nbd alone" in choice.reason
    np.testing.assert_array_equal(blended(past, choice.contender), past.baselines[RHYTHM])


def test_two_that_err_apart_are_blended() -> None:
    choice = choose(_past(1.5, 1.5), 10_000)
    assert 0.0 < choice.contender.weight < 1.0
    assert choice.tried[choice.name] < min(choice.tried["lightgbm"], choice.tried["mbg_nbd"])


def test_a_level_that_moved_is_taken_from_the_prior_that_has_seen_the_newest_weeks() -> None:
    choice = choose(_past(0.3, 1.5, shift=2.0), 10_000)
    assert choice.contender.level == 1.0
    assert choice.tried[choice.name] < choice.tried["lightgbm"]


def test_without_a_later_cutoff_the_usual_blend_is_taken_and_reported() -> None:
    past = _past(4.0, 4.0).only([])
    many, few = choose(past, FEW_ROWS), choose(past, FEW_ROWS - 1)
    assert (many.contender, few.contender) == (USUAL, FEW)
    assert "too little history" in many.reason
    assert many.tried == {}
    assert blended(past, many.contender).shape == (0,)


def test_the_trees_alone_rank_at_full_weight_and_the_level_is_the_priors() -> None:
    random = np.random.default_rng(1)
    trees, rhythm = random.normal(0, 2, 500), random.uniform(0, 0.3, 500)
    for source, mean in ((RHYTHM, rhythm.mean()), (RULE, 0.7)):
        p = Contender(1.0, 1.0, source).apply(trees, rhythm, np.full(500, 0.7))
        assert p.mean() == pytest.approx(mean, abs=1e-12)
        np.testing.assert_array_equal(np.argsort(p), np.argsort(trees))


def test_a_level_that_only_the_rule_has_right_is_taken_from_it() -> None:
    past = _past(0.3, 1.5, shift=2.0)
    rule = RuleModel(past.rows.horizon_days).predict(past.rows.x)
    assert rule.mean() == pytest.approx(past.rows.silent.mean(), abs=0.05)
    wrong = {RHYTHM: sigmoid(logit(past.baselines[RHYTHM]) + 2.0)}
    past = replace(past, baselines={**past.baselines, **wrong})
    assert choose(past, 10_000).contender.source == RULE


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_what_the_backtest_judges_is_the_blend_of_the_artefact(weight: float, level: float) -> None:
    """Weight, level and order of the rows: the three numbers give the contender's probability."""
    random = np.random.default_rng(2)
    trees, rhythm = random.normal(0, 2, 500), random.uniform(0.01, 0.99, 500)
    rule, other = random.uniform(0.01, 0.99, 500), random.permutation(500)
    for source in (RHYTHM, RULE):
        one = Contender(weight, level, source)
        made = one.blend(trees[other], rhythm[other], rule[other])
        np.testing.assert_allclose(
            made.apply(trees, logit(rhythm)), one.apply(trees, rhythm, rule), rtol=0, atol=1e-12
        )


def test_the_ends_of_the_weights_are_the_two_themselves() -> None:
    trees, rhythm = np.array([-2.0, 2.0]), np.array([0.4, 0.6])
    np.testing.assert_array_equal(Contender(1.0, 0.0).apply(trees, rhythm, rhythm), sigmoid(trees))
    np.testing.assert_array_equal(PRIOR_ALONE.apply(trees, rhythm, trees), rhythm)


def test_names_say_what_is_in_them() -> None:
    assert Contender(1.0, 0.0).name == "lightgbm"
    assert PRIOR_ALONE.name == "mbg_nbd"
    assert Contender(0.75, 0.5).name == "0.75 lightgbm + 0.25 mbg_nbd, level 0.5 of mbg_nbd"
    assert Contender(1.0, 1.0, RULE).name == "lightgbm, level 1 of rule"


@pytest.mark.parametrize("mean", [0.001, 0.3, 0.999])
def test_a_shift_reaches_its_mean(mean: float) -> None:
    score = np.random.default_rng(2).normal(0.0, 3.0, 400)
    assert sigmoid(score + shift_to(score, mean)).mean() == pytest.approx(mean, abs=1e-12)
