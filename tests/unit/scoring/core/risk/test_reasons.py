"""Reasons are true, quote features, and start with the most important."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scoring.core.features.compute import FEATURES, feature_index, features
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk.bands import band_index
from services.scoring.core.risk.reason_catalogue import REASON_INDEX, REASONS
from services.scoring.core.risk.reason_facts import FACTS
from services.scoring.core.risk.reasons import reasons, rule_reasons
from services.scoring.core.risk.rhythm import assessable, churn_by_rhythm
from shared.contracts.risk import Reason
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.feature_rows import rows, seen_at
from tests.unit.scoring.core.histories import EPOCH_S, columns, generated, purchases, together
from tests.unit.scoring.core.strategies import batches, nothing


def _codes(given_: list[Reason]) -> list[str]:
    return [reason.code for reason in given_]


def _only(**given_: float) -> Floats:
    contributions = np.zeros((1, len(FEATURES)))
    for name, value in given_.items():
        contributions[0, feature_index[name]] = value
    return contributions


def test_each_feature_has_one_reason() -> None:
    """Impacts add up because each feature belongs to exactly one reason."""
    spoken = [name for spec in REASONS for name in spec.features]
    assert sorted(spoken) == sorted(feature_index)
    assert all(name in FACTS for spec in REASONS for name in spec.facts)
    assert all(code in REASON_INDEX for spec in REASONS for code in spec.otherwise)


def test_silence_beyond_rhythm() -> None:
    """R26: usually a purchase every ten days, now thirty days of silence."""
    x = seen_at(1070.5, purchases(*range(1000, 1050, 10)))
    (found,) = reasons(_only(recency_days=1.0, silence_over_gap_mean=0.5, purchases=-0.4), x)
    assert _codes(found) == ["silence_beyond_rhythm"]
    assert found[0].impact == 1.5
    assert found[0].facts == {"days_silent": 30.0, "usual_gap_days": 10.0, "longest_gap_days": 10.0}


def test_frequency_falling() -> None:
    """R26: one purchase day in the last four weeks, four in the four weeks before."""
    x = seen_at(1056.5, purchases(1000, 1007, 1014, 1021, 1055))
    (found,) = reasons(_only(purchase_days_28=0.8, recency_days=0.1), x)
    assert _codes(found) == ["frequency_falling"]
    assert found[0].facts == {"purchases_recent": 1.0, "purchases_before": 4.0}
    assert math.isclose(found[0].impact, 0.9), "silence does not hold, so frequency speaks for it"


def test_interaction_falling() -> None:
    """R26: two interactions a week for a year, then none for two months; purchases go on."""
    visits = columns(time=np.arange(1000, 1365, 3.5) * DAY_S, kind=np.full(105, Kind.INTERACTION))
    x = seen_at(1425.0, together(visits, purchases(*range(1000, 1425, 10))))
    (found,) = reasons(_only(interactions_decayed_30=0.7), x)
    assert _codes(found) == ["interaction_falling"]
    assert found[0].facts["interactions_recent"] < 2.5
    assert found[0].facts["interactions_before"] > 4
    assert "interaction_falling" in _codes(rule_reasons(x)[0])


def test_steady_interactions_quote_their_rate() -> None:
    """Two a week are eight in four weeks, recently and before: the quoted units are right."""
    visits = columns(time=np.arange(0, 3_000, 3.5) * DAY_S, kind=np.full(858, Kind.INTERACTION))
    x = seen_at(3_000.0, visits)
    assert math.isclose(FACTS["interactions_recent"](x)[0], 8, rel_tol=0.06)
    assert math.isclose(FACTS["interactions_before"](x)[0], 8, rel_tol=0.06)


def test_value_falling() -> None:
    """Orders of 100 for a year, then of 10."""
    events = columns(
        time=np.arange(1000, 1400, 10) * DAY_S, amount=np.where(np.arange(40) < 36, 100.0, 10.0)
    )
    (found,) = reasons(_only(order_value_trend=0.3), seen_at(1391.0, events))
    assert _codes(found) == ["value_falling"]
    facts = found[0].facts
    assert facts["order_value_recent"] <= 0.8 * facts["order_value_before"]


def test_one_small_order_is_no_fall_in_value() -> None:
    """Every fifty days an order of 100, then one of 10: too little to call it falling."""
    events = columns(time=np.arange(1000, 1400, 50) * DAY_S, amount=np.array([100.0] * 7 + [10.0]))
    x = seen_at(1351.0, events)
    assert FACTS["order_value_recent"](x)[0] < 0.8 * FACTS["order_value_before"](x)[0]
    assert "value_falling" not in _codes(reasons(_only(order_value_trend=0.3), x)[0])


def test_an_open_complaint_is_always_a_reason() -> None:
    """R8, R26: also by a model that never saw a complaint, and behind stronger reasons."""
    complaint = columns(time=[1065 * DAY_S], kind=[Kind.COMPLAINT_OPENED])
    x = seen_at(1070.5, together(purchases(1000, 1007, 1014, 1021, 1030, 1036), complaint))
    model = _only(recency_days=3.0, purchase_days_28=2.0, purchases=1.0, spent=1.0)
    (found,) = reasons(model, x)
    assert _codes(found)[-1] == "complaint_open"
    assert len(found) == 3
    assert found[-1].impact == 0.0
    assert found[-1].facts == {"complaints_open": 1.0, "days_since_complaint": 5.5}
    assert reasons(_only(complaints_open=-0.2), x)[0][0].impact == 0.0
    assert "complaint_open" in _codes(rule_reasons(x)[0])
    closed = columns(time=[1066 * DAY_S], kind=[Kind.COMPLAINT_CLOSED])
    events = together(purchases(1000, 1007, 1014, 1021, 1030, 1036), complaint, closed)
    assert "complaint_open" not in _codes(rule_reasons(seen_at(1070.5, events))[0])


def test_low_satisfaction() -> None:
    """R26: a score of 2 of 10; unknown facts are not quoted."""
    survey = columns(time=[1065 * DAY_S], kind=[Kind.SURVEY], score=[2.0])
    x = seen_at(1066.0, together(purchases(1000, 1060), survey))
    (found,) = reasons(_only(survey_score=0.2), x)
    assert _codes(found) == ["satisfaction_low"]
    assert found[0].facts == {"survey_score": 2.0}
    content = columns(time=[1065 * DAY_S], kind=[Kind.SURVEY], score=[9.0])
    x = seen_at(1066.0, together(purchases(1000, 1060), content))
    assert reasons(_only(survey_score=0.2), x) == [[]]


def test_new_and_seldom() -> None:
    """One purchase: quiet from a week on, for a quarter; a rare buyer before and after."""
    once = purchases(1000)
    assert _codes(rule_reasons(seen_at(1007.4, once))[0]) == ["seldom_buyer"]
    assert _codes(rule_reasons(seen_at(1007.5, once))[0]) == ["new_and_quiet"]
    assert _codes(rule_reasons(seen_at(1030.5, once))[0]) == ["new_and_quiet"]
    assert _codes(rule_reasons(seen_at(1130.5, once))[0]) == ["seldom_buyer"]
    (found,) = reasons(_only(recency_days=1.0, tenure_days=0.5), seen_at(1030.5, once))
    assert _codes(found) == ["new_and_quiet"]
    assert found[0].impact == 1.5


def test_what_nothing_supports_is_not_said() -> None:
    """A weekly customer who bought yesterday has no reason, whatever the model found."""
    x = seen_at(1071.5, purchases(*range(1000, 1071, 7), 1071))
    assert reasons(np.full((1, len(FEATURES)), 0.1), x) == [[]]
    assert rule_reasons(x) == [[]]


def test_prospects_have_no_rhythm_to_break() -> None:
    """With interactions alone no reason mentions purchases."""
    x = seen_at(30.0, columns(time=[DAY_S], kind=[Kind.INTERACTION]))
    assert rule_reasons(x) == [[]]


@settings(max_examples=60)
@given(batches, st.floats(0, 9_000), st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_reasons_are_ordered_finite_and_true(
    events: EventColumns, day: float, seed: int, top: int
) -> None:
    """For any history and any contributions, by model and by rule."""
    x = features(fold(nothing(), events), np.full(len(nothing()), EPOCH_S + day * DAY_S))
    contributions = np.random.default_rng(seed).normal(size=x.shape)
    for by in (reasons(contributions, x, top), rule_reasons(x, top)):
        assert len(by) == len(x)
        for row, found in enumerate(by):
            impacts = [reason.impact for reason in found]
            assert len(found) <= top
            assert impacts == sorted(impacts, reverse=True)
            assert len(set(_codes(found))) == len(found)
            for reason in found:
                spec = REASONS[REASON_INDEX[reason.code]]
                assert spec.holds(x)[row]
                assert reason.impact > 0 or spec.always
                assert all(math.isfinite(value) for value in reason.facts.values())
                for name, value in reason.facts.items():
                    assert value == FACTS[name](x)[row]


def test_explained_impact_is_the_sum_of_contributions() -> None:
    """Where every theme is supported, nothing of the log-odds is lost."""
    x = rows(**{feature.name: 1.0 for feature in FEATURES})
    contributions = np.full((1, len(FEATURES)), 0.25)
    x[0, feature_index["recency_days"]] = 2.0
    x[0, feature_index["interactions_decayed_90"]] = 50.0
    x[0, feature_index["survey_score"]] = 1.0
    x[0, feature_index["points_spent_recency_days"]] = 100.0
    total = sum(reason.impact for reason in reasons(contributions, x, top=len(REASONS))[0])
    assert math.isclose(total, 0.25 * len(FEATURES))


def test_the_rule_gives_reasons_for_its_warnings() -> None:
    """Every customer here in high or critical has a reason, which the text of a task needs."""
    events = generated()
    n = int(events.row.max()) + 1
    told = 0
    for years in (1, 2, 4, 7):
        now = np.full(n, EPOCH_S + years * 365 * DAY_S)
        x = features(fold(empty(n), events.select(events.time <= now[0])), now)
        x = x[assessable(x)]
        band = band_index(churn_by_rhythm(x, 28), np.full(len(x), -1, np.int8))
        warned = [found for found, at in zip(rule_reasons(x), band, strict=True) if at >= 2]
        told += len(warned)
        assert all(warned)
    assert told > 100
