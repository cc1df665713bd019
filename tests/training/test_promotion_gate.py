"""The promotion gate: what may serve, what is kept, and the sentence with the reason."""

from dataclasses import replace

import numpy as np

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import FEATURES, feature_index
from services.scoring.core.risk.odds import logit, sigmoid
from services.scoring.training.data.panel import Panel
from services.scoring.training.fit import promotion_gate
from services.scoring.training.fit.promotion_gate import (
    GateDecision,
    GateTrial,
    Serving,
    judge,
)
from shared.kernel.arrays import Floats
from tests.unit.scoring.training.histories import day

HORIZON = 14
CUSTOMERS = 800
CUTOFFS = (day(60), day(74), day(88))
N = CUSTOMERS * len(CUTOFFS)


def _panel() -> tuple[Panel, Floats]:
    """Return rows with known true probabilities; a third of the customers bought once."""
    random = np.random.default_rng(11)
    p = random.beta(0.9, 0.9, N)
    x = np.full((N, len(FEATURES)), np.nan)
    x[:, feature_index["purchase_days"]] = np.tile(np.arange(CUSTOMERS) % 3 + 1, len(CUTOFFS))
    x[:, feature_index["recency_days"]] = random.uniform(0, 40, N)
    x[:, feature_index["tenure_days"]] = random.uniform(1, 300, N)
    rows = Panel(
        x=x,
        silent=random.random(N) < p,
        at=np.repeat(np.arange(len(CUTOFFS)), CUSTOMERS),
        customer=np.tile(np.arange(CUSTOMERS), len(CUTOFFS)),
        weight=np.ones(N),
        arm=np.zeros(N, np.int8),
        cutoffs=CUTOFFS,
        horizon_days=HORIZON,
        rows_thinned=0,
        treatment="",
        others=(),
        over=np.empty((N, 0), np.int8),
        after=np.full(N, np.inf),
        end=day(200),
    )
    return rows, p


ROWS, TRUTH = _panel()


def _noisy(by: float, seed: int = 3) -> Floats:
    blurred = TRUTH + np.random.default_rng(seed).normal(0, by, N)
    return np.clip(blurred, 0.02, 0.98)


def _model(p: Floats, knows_until: float = day(60)) -> Serving:
    return Serving("lgbm-old", "model", p, knows_until)


def _rule(p: Floats) -> Serving:
    return Serving("the rule", "rule", p)


def _judged(ours: Floats, serving: Serving) -> GateDecision:
    return judge(GateTrial(ROWS, ours, serving))


def test_clearly_better_than_the_model_in_use_passes_with_both_log_losses() -> None:
    decision = _judged(_noisy(0.02), _model(_noisy(0.2)))
    assert decision.passed
    assert decision.against == "lgbm-old"
    assert decision.cutoffs == ["2020-11-13", "2020-11-27", "2020-12-11"]
    whole = decision.comparisons[0]
    assert whole.gains is not None
    assert decision.reasons == [
        f"better than lgbm-old: log loss {whole.log_loss:.4f} against "
        f"{whole.log_loss_against:.4f}, lower by {whole.gains.log_loss.mean:.4f} (95% interval "
        f"{whole.gains.log_loss.low:.4f} to {whole.gains.log_loss.high:.4f}) on 2,400 outcomes of "
        "800 customers"
    ]  # fmt: skip


def test_worse_than_the_one_in_use_is_refused_and_the_sentence_has_no_sign() -> None:
    (reason,) = [r for r in _judged(_noisy(0.2), _model(_noisy(0.02))).reasons if "than" in r][:1]
    assert reason.startswith("clearly worse than lgbm-old: log loss 0.")
    assert "higher by 0." in reason
    assert "-" not in reason.removeprefix("clearly worse than lgbm-old")


def test_a_candidate_as_good_as_the_model_in_use_is_not_promoted() -> None:
    """Noise must not promote: a new model has to be worth the change."""
    for one, other in ((6, 7), (7, 6)):
        decision = _judged(_noisy(0.1, one), _model(_noisy(0.1, other)))
        assert not decision.passed
        assert "than lgbm-old" in decision.reasons[0]


def test_a_first_model_needs_only_to_be_the_better_guess() -> None:
    """Of two that are as good, one passes against the rule: nothing better serves."""
    passed = [_judged(_noisy(0.1, one), _rule(_noisy(0.1, other))).passed
              for one, other in ((6, 7), (7, 6))]  # fmt: skip
    assert sorted(passed) == [False, True]


def test_a_worse_ranking_alone_refuses_nothing() -> None:
    """A log loss that is better by far passes, though the order of the customers is worse."""
    level = np.full(N, ROWS.silent.mean())
    wrong = sigmoid(logit(TRUTH) + 4.0)
    decision = _judged(0.9 * level + 0.1 * _noisy(0.3), _rule(wrong))
    auc = decision.comparisons[0].gains
    assert auc is not None
    assert auc.roc_auc.high is not None
    assert auc.roc_auc.high < 0
    assert decision.comparisons[0].verdict == "clearly better"
    assert decision.passed


def test_warnings_that_find_fewer_refuse_a_better_log_loss() -> None:
    """The riskiest four in ten are thrown together: the top tenth holds others."""
    ours = np.where(TRUTH > 0.6, 0.55, TRUTH)
    decision = _judged(ours, _rule(sigmoid(logit(TRUTH) + 4.0)))
    assert decision.comparisons[0].verdict == "clearly better"
    (reason,) = decision.reasons
    assert reason.startswith("warnings would find fewer of the customers who leave: the 10% of")
    assert reason.endswith("% less of them than by the rule")


def test_a_segment_that_gets_clearly_worse_refuses() -> None:
    """It is better on the whole, but customers who bought once are scored at random."""
    once = ROWS.x[:, feature_index["purchase_days"]] == 1
    ours = np.where(once, np.clip(TRUTH[::-1], 0.02, 0.98), TRUTH)
    theirs = np.where(once, TRUTH, np.clip(1 - TRUTH, 0.02, 0.98))
    decision = _judged(ours, _model(theirs))
    found = {c.segment: c.verdict for c in decision.comparisons}
    assert found["all"] == "clearly better"
    assert found["bought once"] == "clearly worse"
    assert found["bought again"] == "clearly better"
    assert not decision.passed
    assert any("for customers of segment 'bought once'" in reason for reason in decision.reasons)


def test_a_segment_that_is_worse_by_next_to_nothing_refuses_nothing() -> None:
    """Certain, but 0.002 of log loss: no owner would see it."""
    once = ROWS.x[:, feature_index["purchase_days"]] == 1
    slightly = np.where(once, TRUTH * 0.94 + 0.03, TRUTH)
    decision = _judged(slightly, _model(np.where(once, TRUTH, _noisy(0.3))))
    segment = next(c for c in decision.comparisons if c.segment == "bought once")
    assert segment.gains is not None
    assert -0.01 < (segment.gains.log_loss.mean or 0.0) < 0
    assert decision.passed


def test_the_one_in_use_is_compared_only_where_it_knew_nothing() -> None:
    """At cutoffs before the end of its labels it has seen the answers."""
    cheating = np.where(ROWS.at < 2, ROWS.silent * 0.96 + 0.02, _noisy(0.3))
    decision = _judged(_noisy(0.02), _model(cheating, knows_until=day(88)))
    assert decision.passed
    assert [c.rows for c in decision.comparisons if c.segment == "all"] == [CUSTOMERS]


def test_without_a_later_cutoff_the_gate_waits_until_a_named_day() -> None:
    decision = _judged(_noisy(0.02), _model(_noisy(0.3), knows_until=day(100)))
    assert not decision.passed
    assert "try again from 2021-01-07" in decision.reasons[0]


def test_what_cannot_be_compared_is_named_after_the_decision() -> None:
    trial = GateTrial(ROWS, _noisy(0.02), _rule(_noisy(0.3)), ("lgbm-old cannot be read",))
    decision = judge(trial)
    assert decision.passed
    assert decision.against is None
    assert decision.reasons[-1] == "lgbm-old cannot be read"


def test_too_few_customers_prove_nothing() -> None:
    few = replace(ROWS, customer=np.arange(N) % (promotion_gate.CUSTOMERS_MIN - 1))
    decision = judge(GateTrial(few, _noisy(0.02), _rule(_noisy(0.3))))
    assert not decision.passed
    assert decision.reasons[0].startswith("too few outcomes to compare with the rule: 2,400 of 199")


def test_no_past_cutoff_refuses() -> None:
    decision = judge(GateTrial(ROWS.between(0, 0), np.empty(0), _rule(np.empty(0))))
    assert not decision.passed
    assert "history is too short" in decision.reasons[0]


def test_spending_makes_segments_where_there_are_amounts() -> None:
    x = ROWS.x.copy()
    x[:, feature_index["amount_decayed_365"]] = np.arange(N)
    found = promotion_gate.segments(replace(ROWS, x=x))
    assert {"spends less", "spends more"} <= set(found)
    assert "spends less" not in promotion_gate.segments(ROWS)
    assert CUTOFFS[1] - CUTOFFS[0] == DAY_S * HORIZON
