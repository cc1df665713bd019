"""Several horizons for every kind of model: coherent, with the main one's number unchanged."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from services.scoring.core.risk.horizons import Bridge
from services.scoring.model.blending import TREES_ALONE
from services.scoring.model.churn_model import OtherHorizons, assemble, dumps, loads
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import Predictor
from tests.unit.scoring.model.pooled import POOLED
from tests.unit.scoring.training.histories import panel, trained

X = panel().x
DAYS = (3, 14, 30, 90)


@pytest.mark.parametrize(
    "make",
    [lambda: RuleModel(14), lambda: POOLED, lambda: trained()[0]],
    ids=["rule", "prior", "model"],
)
def test_the_probability_never_rises_with_the_horizon(make: Callable[[], Predictor]) -> None:
    model = make()
    p = model.predict(X)
    over = model.over(X, p, DAYS)
    assert over.shape == (len(X), len(DAYS))
    assert np.all(np.diff(over, axis=1) <= 0)
    assert np.all((over >= 0) & (over <= 1))
    np.testing.assert_array_equal(over[:, 1], p)
    # Each row by itself, and another choice of horizons, give the same numbers.
    np.testing.assert_allclose(model.over(X[:1], p[:1], (3, 90))[0], over[0, [0, 3]], rtol=1e-12)


def test_without_a_model_each_horizon_is_the_formulas_own() -> None:
    for days in DAYS:
        own = RuleModel(days).predict(X)
        over = RuleModel(14).over(X, RuleModel(14).predict(X), (days,))
        np.testing.assert_allclose(over[:, 0], own)


def test_bridges_travel_in_the_artefact_and_are_part_of_its_address() -> None:
    model = trained()[0]
    document = json.loads(dumps(model))
    bare = {name: value for name, value in document.items() if name != "over"}
    plain = loads(json.dumps({**bare, "calibration": {}}).encode())
    fitted = assemble(
        model.booster,
        TREES_ALONE,
        model.card,
        OtherHorizons(bridges={"30": Bridge(intercept=-0.5, slope=0.9, rhythm=0.7)}),
    )
    assert fitted.version != plain.version
    again = loads(dumps(fitted))
    p = again.predict(X)
    np.testing.assert_array_equal(plain.predict(X), p)
    assert again.artefact.over.bridges["30"].slope == 0.9
    np.testing.assert_array_equal(again.over(X, p, DAYS), fitted.over(X, p, DAYS))
    assert np.any(again.over(X, p, DAYS)[:, 2] != plain.over(X, p, DAYS)[:, 2])


def test_an_artefact_from_before_is_read_with_the_same_version() -> None:
    """Its bytes contain no other horizons: it moves the odds as the rule's rhythm does."""
    model = trained()[0]
    older = assemble(model.booster, TREES_ALONE, model.card)
    assert b'"over"' not in dumps(older)
    assert loads(dumps(older)).version == older.version
