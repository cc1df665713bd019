"""Rule, pooled prior or model: which of them a history supports, and what is promoted."""

import numpy as np
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.training.data.event_table import EventTable, from_columns
from services.scoring.training.fit import candidates as learning
from services.scoring.training.fit.baselines import NAMES
from services.scoring.training.fit.candidates import POOLED, TrainingOutcome, learn
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.histories import END, HORIZON_DAYS, batch, day, shoppers


def _young(customers: int, days: float, gap: float = 4.0) -> EventTable:
    """Return customers who buy every few days, for less time than a horizon and its past."""
    random = np.random.default_rng(9)
    events = []
    for n in range(customers):
        at = random.uniform(0, days / 2)
        while at < days:
            events.append((f"c{n:04}", Kind.PURCHASE, at))
            at += random.exponential(gap)
    return from_columns([batch(events)], day(days))


def test_too_little_of_everything_leaves_the_rule() -> None:
    """Below the documented volume there is no candidate, and both reasons are reported."""
    learned = learn(_young(50, 10), day(10), HORIZON_DAYS)
    assert learned.candidates == []
    assert learned.best(None) is None
    assert learned.notes[0].startswith("no model: end: leaves less than one horizon")
    assert learned.notes[1].startswith("no pooled prior: 50 customers with")


def test_a_young_company_gets_the_pooled_prior() -> None:
    """No outcome can have matured yet, but repeat purchases are many: method `pooled`."""
    learned = learn(_young(300, 10), day(10), HORIZON_DAYS)
    best = learned.best(None)
    assert best is not None
    assert best.model.method == "pooled"
    assert best.decision.passed
    assert best.reference is not None
    assert learned.best("model") is None, "a prior never replaces a model"


def test_a_history_with_outcomes_gets_a_model_that_beat_both() -> None:
    """Where the gate refuses the model, it is kept and the prior may serve."""
    learned = _learned()
    prior, model = learned.candidates
    assert (prior.model.method, model.model.method) == ("pooled", "model")
    against = {c.against for c in model.decision.comparisons if c.segment == "all"}
    assert against == {*NAMES, "rule"}
    assert POOLED in against
    best = learned.best(None)
    assert best is (model if model.decision.passed else prior if prior.decision.passed else None)


def test_the_model_in_use_is_compared_where_it_knew_nothing() -> None:
    """Trained on the same days, it has seen every answer: the new model has to wait."""
    model = _learned().candidates[1].model
    again = learn(_many(), END, HORIZON_DAYS, champion=model)
    decision = again.candidates[1].decision
    assert not decision.passed
    assert decision.against == model.version
    assert any("has matured since" in reason for reason in decision.reasons)


def test_a_feature_that_knows_the_future_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(*_: object, **__: object) -> None:
        raise Invalid("features", "these know the future: spent")

    monkeypatch.setattr(learning, "train", leaking)
    with pytest.raises(Invalid, match="know the future"):
        learn(shoppers(), END, HORIZON_DAYS)


def _many() -> EventTable:
    return shoppers(600)


_KEPT: list[TrainingOutcome] = []


def _learned() -> TrainingOutcome:
    if not _KEPT:
        _KEPT.append(learn(_many(), END, HORIZON_DAYS))
    return _KEPT[0]
