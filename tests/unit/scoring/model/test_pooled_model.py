"""The prior pooled over a company's customers, between the rule and a trained model."""

import json

import msgspec
import numpy as np
import pytest

from services.scoring.core.features.registry import FEATURES, feature_index
from services.scoring.core.risk.odds import logit
from services.scoring.model import pooled_model
from services.scoring.model.loading import knows_until, loads
from services.scoring.model.pooled_model import PooledModel, make
from services.scoring.ports import Predictor
from shared.kernel.errors import Invalid
from tests.unit.scoring.model.pooled import ARTEFACT, DATA, POOLED
from tests.unit.scoring.training.histories import panel


def test_it_is_a_predictor_that_names_itself() -> None:
    predictor: Predictor = POOLED
    assert (predictor.method, predictor.horizon_days) == ("pooled", 14)
    assert predictor.version.startswith("pooled-")


def test_bytes_round_trip_through_the_common_door() -> None:
    again = loads(DATA)
    assert again == POOLED
    assert knows_until(again) == ARTEFACT.labels_end
    np.testing.assert_array_equal(again.predict(panel().x), POOLED.predict(panel().x))


def test_probabilities_grow_with_silence_and_are_none_for_prospects() -> None:
    x = np.repeat(panel().x[:1], 50, axis=0)
    x[:, feature_index["recency_days"]] = np.arange(50)
    p = POOLED.predict(x)
    assert np.all(np.diff(p) > 0)
    assert np.all((p > 0) & (p < 1))
    prospect = np.full((1, len(FEATURES)), np.nan)
    prospect[0, feature_index["purchase_days"]] = 0
    assert np.isnan(POOLED.predict(prospect)).all()


def test_contributions_add_up_to_its_log_odds() -> None:
    x = panel().x
    np.testing.assert_allclose(POOLED.explain(x).sum(axis=1), logit(POOLED.predict(x)))


def test_the_prior_is_learned_from_rhythms_alone() -> None:
    """Faster buyers give a prior with a faster rate."""
    x = panel().x.copy()
    slow = x.copy()
    for name in ("gap_mean_days", "recency_days"):
        slow[:, feature_index[name]] *= 3
    fast_prior, slow_prior = pooled_model.fit_prior(x), pooled_model.fit_prior(slow)
    assert fast_prior.r / fast_prior.alpha > 2 * slow_prior.r / slow_prior.alpha


@pytest.mark.parametrize(
    "data", [b'{"kind": "pooled"}', DATA.replace(b'"format":1', b'"format":2')]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="artefact"):
        loads(data)


def test_the_regularity_of_the_gaps_is_part_of_the_artefact() -> None:
    """Bytes from before it was known are read with random gaps and keep their version."""
    x, document = panel().x, json.loads(DATA)
    assert document.pop("k") == 1.0
    older = loads(json.dumps(document, sort_keys=True).encode())
    np.testing.assert_array_equal(older.predict(x), POOLED.predict(x))
    regular, data = make(msgspec.structs.replace(ARTEFACT, k=6.0))
    again = loads(data)
    assert isinstance(again, PooledModel)
    assert again.prior.k == 6.0
    assert regular.version != POOLED.version
    assert np.any(regular.predict(x) != POOLED.predict(x))
    p = regular.predict(x)
    assert np.all((p >= 0) & (p <= 1))
    over = regular.over(x, p, (7, 14, 30))
    assert np.all(np.diff(over, axis=1) <= 1e-12)
