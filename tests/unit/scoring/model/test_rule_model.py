"""The rule with the interface of a model."""

import numpy as np

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk.odds import logit
from services.scoring.core.risk.rhythm import churn_by_rhythm
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import Predictor
from tests.unit.scoring.training.histories import panel


def test_it_is_a_predictor_that_names_itself() -> None:
    rule: Predictor = RuleModel(28)
    assert (rule.version, rule.method) == ("rule-2", "rule")
    assert (rule.feature_set, rule.horizon_days) == (FEATURE_SET, 28)


def test_the_rule_is_the_documented_one() -> None:
    x = panel().x
    np.testing.assert_array_equal(RuleModel(30).predict(x), churn_by_rhythm(x, 30))


def test_its_contributions_add_up_to_its_log_odds() -> None:
    x = panel().x
    rule = RuleModel(14)
    np.testing.assert_allclose(rule.explain(x).sum(axis=1), logit(rule.predict(x)))
