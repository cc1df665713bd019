"""The probability that the present silence reaches the lapse length, for every kind of model."""

from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.registry import feature_index
from services.scoring.core.risk.bands import band_index
from services.scoring.core.risk.horizons import Bridge
from services.scoring.core.risk.lapse import LapseClock, silences_of
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.core.risk.rhythm import Prior, churn_by_rhythm
from services.scoring.model.blending import TREES_ALONE
from services.scoring.model.churn_model import ChurnModel, OtherHorizons, assemble
from services.scoring.model.pooled_model import make
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import Predictor
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.feature_rows import rows, seen_at
from tests.unit.scoring.core.histories import purchases
from tests.unit.scoring.model.pooled import ARTEFACT, POOLED
from tests.unit.scoring.training.histories import panel, trained

X = panel().x.copy()
X[:, feature_index["gap_variation"]] = 1.0
"""Gaps at random: the rule has a k of its own for regular ones (`regularity`)."""
RESTS = np.linspace(0.5, 60.0, len(X))
POOLED_PRIOR = Prior(ARTEFACT.r, ARTEFACT.alpha, ARTEFACT.a, ARTEFACT.b)
ALL = pytest.mark.parametrize("by", ["rule", "prior", "trees"], indirect=True)
FORMULAS = pytest.mark.parametrize("by", [RuleModel(14), POOLED], ids=lambda by: by.method)


@cache
def trees() -> ChurnModel:
    """Return real trees.

    Other times than the horizon follow the rhythm, since nothing was fitted.
    """
    return assemble(trained()[0].booster, TREES_ALONE, trained()[0].card)


@pytest.fixture
def by(request: pytest.FixtureRequest) -> Predictor:
    """Return the named predictor. The trees are trained when the first test needs them."""
    made: dict[str, Callable[[], Predictor]] = {
        "rule": lambda: RuleModel(14),
        "prior": lambda: POOLED,
        "trees": trees,
    }
    return made[request.param]()


def lapse(by: Predictor, x: Floats, rest: Floats) -> Floats:
    """Return the lapse probabilities as the handlers compute them."""
    return by.lapse_probability(x, by.predict(x), rest)


def test_the_lapse_probability_is_as_computed_by_hand() -> None:
    """Ten repeats over 100 days, 30 days silent of a lapse length of 40: 10 days are left."""
    x = rows(recency_days=30.0, purchase_days=11.0, gap_mean_days=10.0, gap_recent_days=10.0)
    seen = silences_of(x, LapseClock())
    assert seen.rest.tolist() == [10.0]
    alive = 1 / (1 + 0.25 / 15 * (158 / 128) ** 10.5)
    stays_away = (158 / 168) ** 10.5
    wanted = 1 - alive * (1 - stays_away)
    assert lapse(RuleModel(28), x, seen.rest) == pytest.approx([wanted])


def test_the_rule_s_is_the_same_rule_over_the_rest() -> None:
    found = lapse(RuleModel(14), X, RESTS)
    np.testing.assert_array_equal(found, churn_by_rhythm(X, RESTS))


def test_the_pooled_prior_s_is_the_same_arithmetic_over_the_rest() -> None:
    """Both are MBG/NBD, so the rule's formula with this prior gives the same numbers."""
    found = lapse(POOLED, X, RESTS)
    np.testing.assert_allclose(found, churn_by_rhythm(X, RESTS, POOLED_PRIOR), atol=1e-9)


def test_the_model_s_moves_the_odds_as_the_rhythm_does() -> None:
    """It goes from the horizon of 14 days to the rest, by the rule's MBG/NBD without a fit."""
    moved = logit(churn_by_rhythm(X, RESTS)) - logit(churn_by_rhythm(X, 14.0))
    wanted = sigmoid(logit(trees().predict(X)) + moved)
    np.testing.assert_allclose(lapse(trees(), X, RESTS), wanted, atol=1e-9)


@ALL
def test_over_a_rest_as_long_as_the_horizon_it_is_the_score(by: Predictor) -> None:
    rest = np.full(len(X), float(by.horizon_days))
    np.testing.assert_allclose(lapse(by, X, rest), by.predict(X), rtol=0, atol=1e-9)


@ALL
def test_a_lapse_is_certain_where_no_day_is_left(by: Predictor) -> None:
    assert set(lapse(by, X, np.zeros(len(X))).tolist()) == {1.0}


@ALL
def test_a_longer_rest_is_never_likelier(by: Predictor) -> None:
    over = np.stack([lapse(by, X, np.full(len(X), rest)) for rest in (0.0, 0.1, 1.0, 7.0, 90.0)])
    assert np.all(np.diff(over, axis=0) <= 1e-12)
    assert np.all((over >= 0.0) & (over <= 1.0))


@ALL
def test_each_row_is_by_itself(by: Predictor) -> None:
    together = lapse(by, X, RESTS)
    np.testing.assert_allclose(lapse(by, X[7:8], RESTS[7:8]), together[7:8], rtol=1e-12)
    assert lapse(by, X[:0], RESTS[:0]).tolist() == []


@FORMULAS
@given(
    days=st.lists(st.integers(0, 1_000), min_size=1, max_size=30, unique=True),
    looks=st.lists(st.floats(0, 500), min_size=2, max_size=12),
)
def test_the_lapse_probability_never_falls_during_a_silence(
    by: Predictor, days: list[int], looks: list[float]
) -> None:
    """The rest shrinks while the silence makes a return less likely; from the length on it is 1."""
    last = max(days) + 0.5
    x = np.array([seen_at(last + silent, purchases(*days))[0] for silent in sorted(looks)])
    seen = silences_of(x, LapseClock())
    found = lapse(by, x, seen.rest)
    assert np.all(np.diff(found) >= -1e-12)
    assert np.all((found >= 0.0) & (found <= 1.0))
    assert np.all(found[seen.reached] == 1.0)


def test_bands_change_by_elapsed_time_alone() -> None:
    """R2: one weekly customer, no further event, from low to critical within 28 days."""
    events = purchases(*range(1000, 1203, 7))
    band, seen = np.array([-1], np.int8), []
    for silent in range(29):
        x = seen_at(1196.5 + silent + 1e-6, events)
        rest = silences_of(x, LapseClock()).rest
        band = band_index(lapse(RuleModel(28), x, rest), band)
        seen.append(int(band[0]))
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2, 3}


FITTED = Bridge(intercept=0.4, slope=0.8, rhythm=1.1)


def test_what_was_fitted_to_lapses_is_used_by_the_model() -> None:
    model = assemble(trees().booster, TREES_ALONE, trees().card, OtherHorizons(lapse=FITTED))
    moved = logit(churn_by_rhythm(X, RESTS)) - logit(churn_by_rhythm(X, 14.0))
    wanted = sigmoid(0.4 + 0.8 * logit(model.predict(X)) + 1.1 * moved)
    np.testing.assert_allclose(lapse(model, X, RESTS), wanted, atol=1e-9)
    assert set(lapse(model, X, np.zeros(len(X))).tolist()) == {1.0}
    # The horizons of the score are not affected.
    p = model.predict(X)
    np.testing.assert_array_equal(model.over(X, p, (7, 14, 30)), trees().over(X, p, (7, 14, 30)))


def test_what_was_fitted_to_lapses_is_used_by_the_pooled_prior() -> None:
    fitted, _ = make(msgspec.structs.replace(ARTEFACT, lapse=FITTED))
    assert fitted.version != POOLED.version
    p = POOLED.predict(X)
    moved = logit(churn_by_rhythm(X, RESTS, POOLED_PRIOR)) - logit(p)
    wanted = sigmoid(0.4 + 0.8 * logit(p) + 1.1 * moved)
    np.testing.assert_allclose(lapse(fitted, X, RESTS), wanted, atol=1e-9)
    assert set(lapse(fitted, X, np.zeros(len(X))).tolist()) == {1.0}
