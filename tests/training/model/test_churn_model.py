"""The model artefact: predicts, explains, is the same after loading, refuses what does not fit."""

import json
from typing import Any

import lightgbm
import numpy as np
import pytest

from services.scoring.core.features.registry import FEATURES, KINDS, feature_index
from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.model.blending import Blend
from services.scoring.model.churn_model import dumps, loads
from services.scoring.model.pooled_model import no_purchase
from services.scoring.model.store import address
from services.scoring.ports import Predictor
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import panel, trained

X = panel().x


def _changed(**fields: Any) -> bytes:
    document = json.loads(dumps(trained()[0]))
    return json.dumps({**document, **fields}).encode()


def test_it_is_a_predictor() -> None:
    model: Predictor = trained()[0]
    assert (model.method, model.feature_set, model.horizon_days) == ("model", FEATURE_SET, 14)


def test_bytes_round_trip_to_the_same_model() -> None:
    model = trained()[0]
    again = loads(dumps(model))
    assert again.version == model.version
    assert dumps(again) == dumps(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_the_version_is_the_address_of_the_bytes() -> None:
    data = dumps(trained()[0])
    assert loads(data).version == f"lgbm-{address(data)[:12]}"
    other = loads(_changed(horizon_days=30))
    assert other.version != loads(data).version
    assert other.horizon_days == 30


def test_probabilities_are_probabilities() -> None:
    p = trained()[0].predict(X)
    assert p.shape == (len(X),)
    assert np.all((p > 0) & (p < 1))


def test_a_row_scores_the_same_alone_and_in_a_batch_with_any_threads() -> None:
    model = trained()[0]
    whole = model.predict(X)
    np.testing.assert_array_equal([model.predict(X[i : i + 1])[0] for i in range(40)], whole[:40])
    np.testing.assert_array_equal(loads(dumps(model), threads=2).predict(X), whole)


@pytest.mark.parametrize("rhythm", [0.0, 0.4, 1.0])
def test_contributions_and_base_add_up_to_the_log_odds_of_the_score(rhythm: float) -> None:
    model = loads(_changed(calibration={"intercept": 0.5, "slope": 1.2, "rhythm": rhythm}))
    total = model.explain(X).sum(axis=1) + model.base
    np.testing.assert_allclose(total, model.log_odds(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sigmoid(total), model.predict(X))
    trees = model.booster.predict(X, raw_score=True)
    of_rhythm = logit(no_purchase(model.artefact.over.rhythm, X, model.horizon_days))
    np.testing.assert_allclose(total, 0.5 + 1.2 * np.asarray(trees) + rhythm * of_rhythm)


def test_a_longer_silence_is_what_the_rhythm_says_about_it() -> None:
    """Without trees, only the usual gap and the silence have a part, and silence adds risk."""
    model = loads(_changed(calibration={"slope": 0.0, "rhythm": 1.0}))
    rows = X.copy()
    rows[:, feature_index["recency_days"]] += 10.0
    before, after = model.explain(X), model.explain(rows)
    silence, gap = feature_index["recency_days"], feature_index["gap_mean_days"]
    assert set(np.flatnonzero(np.abs(before).sum(axis=0))) <= {silence, gap}
    assert np.all(after[:, silence] > before[:, silence])
    np.testing.assert_array_equal(after[:, gap], before[:, gap])


def test_an_artefact_without_a_rhythms_weight_scores_as_it_did() -> None:
    """Artefacts that were made before there were blends have a calibration of two numbers."""
    model = loads(_changed(calibration={"intercept": -0.1, "slope": 0.9}))
    trees = np.asarray(model.booster.predict(X, raw_score=True))
    np.testing.assert_array_equal(model.predict(X), sigmoid(-0.1 + 0.9 * trees))


def test_no_rows_give_no_rows() -> None:
    model = trained()[0]
    assert model.predict(X[:0]).shape == (0,)
    assert model.explain(X[:0]).shape == X[:0].shape


def test_another_feature_set_is_refused() -> None:
    with pytest.raises(Invalid, match=r"feature_set.*reads feature set 99.*train again"):
        loads(_changed(feature_set=99))


def test_features_in_another_order_are_refused_by_name() -> None:
    names = list(trained()[0].artefact.features)
    names[3], names[4] = names[4], names[3]
    with pytest.raises(Invalid, match=f"feature 3 is {names[3]} in the model and {names[4]} here"):
        loads(_changed(features=names))


def test_a_missing_feature_is_refused() -> None:
    names = list(trained()[0].artefact.features)
    with pytest.raises(Invalid, match=f"feature 3 is {names[4]} in the model and {names[3]} here"):
        loads(_changed(features=names[:3] + names[4:]))
    with pytest.raises(Invalid, match=f"{len(names) - 1} are named"):
        loads(_changed(features=names[:-1]))
    with pytest.raises(Invalid, match="unknown in the model and missing here"):
        loads(_changed(features=[*names, "unknown"]))
    with pytest.raises(Invalid, match="feature 0 is missing in the model"):
        loads(_changed(features=[]))


def test_a_model_of_before_the_last_features_serves_on() -> None:
    """It reads the first columns, and explains with those alone."""
    first = len(FEATURES) - len(KINDS)
    names = [feature.name for feature in FEATURES[:first]]
    booster = lightgbm.train(
        {"verbosity": -1, "objective": "binary"},
        lightgbm.Dataset(np.ascontiguousarray(X[:, :first]), panel().silent),
        5,
    )
    old = loads(_changed(features=names, booster=booster.model_to_string()))
    changed = X.copy()
    changed[:, first:] += 1
    np.testing.assert_array_equal(old.predict(X), old.predict(changed))
    assert len(np.unique(old.predict(X))) > 1
    found = old.explain(X)
    assert found.shape == X.shape
    assert not found[:, first:].any()
    np.testing.assert_allclose(found.sum(axis=1) + old.base, old.log_odds(X), rtol=0, atol=1e-9)


def test_trees_of_another_width_are_refused() -> None:
    x = np.arange(30.0).reshape(10, 3)
    narrow = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(x, x[:, 0] > 9), 1)
    with pytest.raises(Invalid, match="trees read 3 features"):
        loads(_changed(booster=narrow.model_to_string()))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff\xfe", b'{"format": 1}'], ids=["empty", "bare", "binary", "partial"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="not a churn model"):
        loads(data)


def test_another_format_is_refused() -> None:
    with pytest.raises(Invalid, match="is 2, this release reads 1"):
        loads(_changed(format=2))


def test_a_broken_booster_is_refused() -> None:
    with pytest.raises(Invalid, match="LightGBM cannot read it"):
        loads(_changed(booster="tree\n"))


def test_the_default_blend_is_the_trees() -> None:
    z = np.array([-40.0, -1.0, 0.0, 2.0, 40.0])
    np.testing.assert_array_equal(Blend().apply(z), sigmoid(z))
    np.testing.assert_allclose(sigmoid(z)[2], 0.5)
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
    np.testing.assert_allclose(logit(sigmoid(z[1:4])), z[1:4])
