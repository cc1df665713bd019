"""Rule, pooled prior or model: which of them a history supports, and what is promoted."""

from functools import cache

import numpy as np
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.core.monitoring.metrics import log_loss
from services.scoring.training.data.event_table import EventTable, from_columns
from services.scoring.training.fit import candidates as learning
from services.scoring.training.fit.candidates import TrainingOutcome, learn
from shared.kernel.errors import Invalid
from tests.fakes.model import tiny_model
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
    assert learned.notes[0].startswith("no model: it leaves less than one horizon")
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


def test_a_history_with_outcomes_gets_a_model_that_beat_the_rule() -> None:
    learned = _learned()
    prior, model = learned.candidates
    assert (prior.model.method, model.model.method) == ("pooled", "model")
    for candidate in (prior, model):
        assert {c.against for c in candidate.decision.comparisons} == {"the rule"}
    assert model.decision.passed
    assert learned.best(None) is model


def test_where_trees_add_nothing_the_prior_serves_and_a_note_has_the_measures() -> None:
    """Customers who buy at random, and leave at random, are what the prior describes."""
    learned = learn(shoppers(600), END, HORIZON_DAYS)
    assert [c.model.method for c in learned.candidates] == ["pooled"]
    assert learned.notes[0].startswith("no model: trees add nothing to the prior: on ")
    assert "mbg_nbd alone" in learned.notes[0]
    best = learned.best(None)
    assert best is not None
    assert best.decision.passed


def test_the_gate_judges_what_serves() -> None:
    """The judged probabilities are the blend's, with the level and the prior of each cutoff."""
    learned = _learned()
    trained = learned.trained
    assert trained is not None
    past, whole = trained.fitted.later, learned.candidates[1].decision.comparisons[0]
    p = trained.fitted.scored(past)
    assert whole.log_loss == pytest.approx(log_loss(past.rows.silent, p, past.rows.weight))


def test_a_prior_in_use_is_compared_at_every_cutoff_and_need_not_wait() -> None:
    learned = _learned()
    prior = learned.candidates[0].model
    again = learn(_many(), END, HORIZON_DAYS, champion=prior)
    decision = again.candidates[1].decision
    assert decision.against == prior.version
    assert decision.passed
    assert again.best("pooled") is again.candidates[1]


@pytest.mark.parametrize("horizon", [HORIZON_DAYS, 30])
def test_what_cannot_be_compared_is_replaced_as_the_rule_would_be(horizon: int) -> None:
    """A model of another release's features, or of another horizon."""
    model = "lgbm-old" if horizon == HORIZON_DAYS else tiny_model(horizon_days=horizon)
    decision = learn(_many(), END, HORIZON_DAYS, champion=model).candidates[1].decision
    assert decision.passed
    assert decision.against is None
    assert decision.reasons[-1].endswith("compared with the rule")


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


@cache
def _many(customers: int = 600) -> EventTable:
    """Return customers who look around every other day until they leave, and buy at random.

    The silence of their interactions is known at once, so trees know more than the prior.
    """
    random = np.random.default_rng(21)
    events = []
    for n in range(customers):
        first, gone = random.uniform(0, 60), random.uniform(40, 400)
        looks = np.cumsum(random.exponential(2.0, 400)) + first
        buys = np.cumsum(np.r_[0.0, random.exponential(random.gamma(4.0, 3.0), 200)]) + first
        last = min(max(gone, first + 1), 150.0)
        events += [(f"c{n:04}", Kind.INTERACTION, at) for at in looks[looks < last]]
        events += [(f"c{n:04}", Kind.PURCHASE, at) for at in buys[buys < last]]
    return from_columns([batch(events)], END)


_KEPT: list[TrainingOutcome] = []


def _learned() -> TrainingOutcome:
    if not _KEPT:
        _KEPT.append(learn(_many(), END, HORIZON_DAYS))
    return _KEPT[0]
