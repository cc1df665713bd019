"""The promotion gate: what may serve, what is kept, and the sentence with the reason."""

from dataclasses import replace

import numpy as np

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import FEATURES, feature_index
from services.scoring.training.data.panel import Panel
from services.scoring.training.fit import promotion_gate
from services.scoring.training.fit.promotion_gate import Champion, GateTrial, judge
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


def _champion(p: Floats | None, knows_until: float = day(60), horizon: int = HORIZON) -> Champion:
    return Champion("lgbm-old", horizon, knows_until, p)


WEAK = {"recency": _noisy(0.4, 4), "rule": _noisy(0.3, 5)}


def test_better_than_everything_passes() -> None:
    decision = judge(GateTrial(ROWS, _noisy(0.02), WEAK, _champion(_noisy(0.2))))
    assert decision.passed
    assert decision.against == "lgbm-old"
    assert {c.against for c in decision.comparisons if c.segment == "all"} == {
        "recency", "rule", "lgbm-old",
    }  # fmt: skip
    assert decision.cutoffs == ["2020-11-13", "2020-11-27", "2020-12-11"]


def test_worse_than_the_one_in_use_is_refused_with_numbers() -> None:
    decision = judge(GateTrial(ROWS, _noisy(0.2), WEAK, _champion(_noisy(0.02))))
    assert not decision.passed
    assert decision.reasons[0].startswith("clearly worse than lgbm-old on all customers: log loss")


def test_a_candidate_as_good_as_the_champion_is_not_promoted() -> None:
    """Noise must not promote: a new model has to be worth the change."""
    decision = judge(GateTrial(ROWS, _noisy(0.1, 6), WEAK, _champion(_noisy(0.1, 7))))
    assert not decision.passed
    assert "not clearly better than lgbm-old" in decision.reasons[0]


def test_a_baseline_that_is_as_good_refuses() -> None:
    decision = judge(GateTrial(ROWS, _noisy(0.2, 6), {**WEAK, "pooled prior": _noisy(0.2, 7)}))
    assert not decision.passed
    assert "pooled prior on all customers" in decision.reasons[0]


def test_a_segment_that_gets_clearly_worse_refuses() -> None:
    """It is better on the whole, but customers who bought once are scored at random."""
    once = ROWS.x[:, feature_index["purchase_days"]] == 1
    ours = np.where(once, np.clip(TRUTH[::-1], 0.02, 0.98), TRUTH)
    theirs = np.where(once, TRUTH, _noisy(0.45))
    decision = judge(GateTrial(ROWS, ours, {"recency": np.full(N, 0.5)}, _champion(theirs)))
    found = {c.segment: c.verdict for c in decision.comparisons if c.against == "lgbm-old"}
    assert found["bought once"] == "clearly worse"
    assert found["bought again"] == "better"
    assert not decision.passed
    assert any("segment 'bought once'" in reason for reason in decision.reasons)


def test_the_one_in_use_is_asked_only_where_it_knew_nothing() -> None:
    """At cutoffs before the end of its labels it has seen the answers."""
    cheating = np.where(ROWS.at < 2, ROWS.silent * 0.96 + 0.02, _noisy(0.3))
    decision = judge(GateTrial(ROWS, _noisy(0.02), WEAK, _champion(cheating, knows_until=day(88))))
    assert decision.passed
    against = [c for c in decision.comparisons if (c.against, c.segment) == ("lgbm-old", "all")]
    assert [c.rows for c in against] == [CUSTOMERS]


def test_without_a_later_cutoff_the_gate_waits_until_a_named_day() -> None:
    champion = _champion(_noisy(0.3), knows_until=day(100))
    decision = judge(GateTrial(ROWS, _noisy(0.02), WEAK, champion))
    assert not decision.passed
    assert "try again from 2021-01-07" in decision.reasons[0]


def test_one_in_use_that_cannot_be_compared_is_named() -> None:
    """Another release's features, another horizon or other labels: the baselines decide."""
    for champion, words in (
        (_champion(None), "cannot read this release's features"),
        (_champion(_noisy(0.01), horizon=30), "answers another question (30 d, silence)"),
        (
            replace(_champion(_noisy(0.01)), labels="contractual"),
            f"answers another question ({HORIZON} d, contractual)",
        ),
    ):
        decision = judge(GateTrial(ROWS, _noisy(0.02), WEAK, champion))
        assert decision.passed
        assert words in decision.reasons[-1]


def test_too_few_customers_prove_nothing() -> None:
    few = replace(ROWS, customer=np.arange(N) % (promotion_gate.CUSTOMERS_MIN - 1))
    decision = judge(GateTrial(few, _noisy(0.02), WEAK))
    assert not decision.passed
    assert decision.reasons[0].startswith("too few rows to compare with recency")


def test_no_past_cutoff_refuses() -> None:
    decision = judge(GateTrial(ROWS.between(0, 0), np.empty(0), {}))
    assert not decision.passed
    assert "history too short" in decision.reasons[0]


def test_spending_makes_segments_where_there_are_amounts() -> None:
    x = ROWS.x.copy()
    x[:, feature_index["amount_decayed_365"]] = np.arange(N)
    found = promotion_gate.segments(replace(ROWS, x=x))
    assert {"spends less", "spends more"} <= set(found)
    assert "spends less" not in promotion_gate.segments(ROWS)
    assert CUTOFFS[1] - CUTOFFS[0] == DAY_S * HORIZON
