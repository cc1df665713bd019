"""Reasons fit the score: they add up to it, are stable, and quote the customer's own past."""

import numpy as np
import pytest

from services.scoring.core.features.compute import features
from services.scoring.core.features.fold import fold
from services.scoring.core.features.registry import feature_index
from services.scoring.core.features.state import empty
from services.scoring.core.risk.odds import sigmoid
from services.scoring.core.risk.reason_catalogue import REASONS
from services.scoring.core.risk.reasons import reasons
from tests.unit.scoring.training.histories import END, day, panel, purchases, shoppers, trained

HOUR_S = 3_600.0
X = panel().x


def test_the_reasons_features_add_up_to_the_probability() -> None:
    """Each feature belongs to one reason.

    The sums per reason and the base give exactly the published probability.
    """
    model = trained()[0]
    contributions = model.explain(X)
    columns = [np.array([feature_index[name] for name in spec.features]) for spec in REASONS]
    assert sorted(np.concatenate(columns).tolist()) == list(range(X.shape[1]))
    total = sum(contributions[:, of].sum(axis=1) for of in columns) + model.base
    np.testing.assert_allclose(sigmoid(total), model.predict(X), rtol=1e-9)


def _at(seconds: float) -> np.ndarray:
    states = fold(empty(len(shoppers().customers)), shoppers().between(-np.inf, END - HOUR_S))
    x = features(states, np.full(len(states), seconds))
    return x[x[:, feature_index["purchases"]] > 0]


@pytest.mark.parametrize("later_s", [60.0, HOUR_S])
def test_a_little_silence_more_changes_no_story(later_s: float) -> None:
    """The same customers a minute and an hour later: the probability moves by less than a point.

    Nineteen in twenty keep their leading reason.
    """
    model = trained()[0]
    before, after = _at(END), _at(END + later_s)
    moved = np.abs(model.predict(after) - model.predict(before))
    assert np.median(moved) < 0.01
    one, other = (reasons(model.explain(x), x) for x in (before, after))
    told = [(a[0].code, b[0].code) for a, b in zip(one, other, strict=True) if a and b]
    assert len(told) > 50
    assert np.mean([a == b for a, b in told]) >= 0.95
    assert np.mean([bool(a) == bool(b) for a, b in zip(one, other, strict=True)]) >= 0.95


def test_a_thousandth_more_of_everything_changes_no_story() -> None:
    """Counts are left out: a customer who bought once has not bought 1.001 times."""
    model = trained()[0]
    jitter = 1.0 + np.random.default_rng(3).uniform(-1e-3, 1e-3, X.shape)
    near = np.where(np.round(X) == X, X, X * jitter)
    one, other = (reasons(model.explain(x), x) for x in (X, near))
    told = [(a[0].code, b[0].code) for a, b in zip(one, other, strict=True) if a and b]
    assert np.mean([a == b for a, b in told]) >= 0.95


@pytest.mark.parametrize(
    ("code", "now", "before"),
    [
        ("silence_beyond_rhythm", "days_silent", "usual_gap_days"),
        ("frequency_falling", "purchases_recent", "purchases_before"),
        ("interaction_falling", "interactions_recent", "interactions_before"),
        ("value_falling", "order_value_recent", "order_value_before"),
        ("satisfaction_low", "survey_score", "survey_change"),
    ],
)
def test_a_change_is_quoted_against_the_customers_own_past(
    code: str, now: str, before: str
) -> None:
    """Each reason about a fall quotes the number now and the customer's own number before."""
    spec = next(spec for spec in REASONS if spec.code == code)
    assert {now, before} <= set(spec.facts)


def test_a_quoted_change_is_that_of_the_history() -> None:
    """Ten days between purchases, then forty of silence: the reason quotes both."""
    table = purchases(*(("a", 10.0 * n) for n in range(6)), until=120)
    x = features(fold(empty(1), table.events), np.array([day(90)]))
    silence = np.zeros_like(x)
    silence[0, feature_index["recency_days"]] = 1.0
    (told,) = reasons(silence, x)[0]
    assert told.code == "silence_beyond_rhythm"
    assert told.facts["days_silent"] == pytest.approx(40.0)
    assert told.facts["usual_gap_days"] == pytest.approx(10.0)
