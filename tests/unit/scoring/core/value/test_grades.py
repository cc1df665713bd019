"""Tiers, grades, policy: cuts, margins, and their inputs (R1, R12, R15, R24, R25)."""

import msgspec
import numpy as np
import pytest

from services.scoring.core.value import grades
from services.scoring.core.value.grades import NONE, POTENTIAL, REGULAR, VIP
from services.scoring.core.value.policy import Advocacy, GradeWeights, ValuePolicy, parse, stored
from services.scoring.core.value.quantiles import cut, grid
from shared.contracts.events import Profile
from shared.kernel.errors import Invalid
from tests.unit.scoring.core.feature_rows import rows

CENTS = tuple(float(i) for i in range(101))


def test_R1_tiers_by_threshold_with_a_margin_against_flapping() -> None:
    value = np.array([100.0, 95, 89, 50, 46, 44, np.nan])
    fresh = np.full(7, NONE, np.int8)
    assert grades.tier(value, 100, 50, fresh, 0.1).tolist() == [0, 1, 1, 1, 2, 2, NONE]
    was_high = np.zeros(7, np.int8)
    assert grades.tier(value, 100, 50, was_high, 0.1).tolist() == [0, 0, 1, 1, 1, 2, NONE]
    was_low = np.full(7, 2, np.int8)
    assert grades.tier(value, 100, 50, was_low, 0.1).tolist() == [0, 1, 1, 1, 2, 2, NONE]


def test_R1_no_tier_flaps_within_the_margin() -> None:
    before, changes = np.array([NONE], np.int8), 0
    for step in range(40):
        value = np.array([100.0 + (4 if step % 2 else -4)])
        after = grades.tier(value, 100, 50, before, 0.1)
        changes += int(step > 1 and after[0] != before[0])
        before = after
    assert changes == 0


def test_R12_R24_grades_from_score_and_value_to_come() -> None:
    score = np.array([0.9, 0.85, 0.5, 0.5, 0.5, np.nan, np.nan])
    value = np.array([10.0, 10, 300, 280, 10, 10, np.nan])
    prospect = np.array([False] * 6 + [True])
    before = np.array([NONE, VIP, NONE, POTENTIAL, POTENTIAL, VIP, NONE], np.int8)
    found = grades.grade(score, value, prospect, (0.9, 300.0), before, 0.1)
    assert found.tolist() == [VIP, VIP, POTENTIAL, POTENTIAL, REGULAR, NONE, POTENTIAL]


def test_a_share_is_the_best_so_many_of_the_base() -> None:
    assert cut(grid(np.arange(1_001.0)), 0.1) == pytest.approx(900.0)


def test_R12_the_score_weighs_what_is_known() -> None:
    x = rows(
        purchases=4, purchase_days=50, spent=50, order_value=12.5, refunded_share=0.0,
        gap_variation=[0.25, np.nan], weekday_share=0.5, survey_score=[8.0, np.nan],
        recommendation_score=np.nan, complaints_open=0.0, interactions_decayed_90=0.0,
    )  # fmt: skip
    weights = GradeWeights(amount=1, frequency=1, stability=1, preference=1, feedback=1)
    found = grades.grade_score(x, CENTS, CENTS, (0.0,) * 101, weights)
    # Ranks of 50 in 0..100 are 0.5; stability 0.75, weekday 0.5, survey 0.8.
    assert found.tolist() == pytest.approx([(0.5 + 0.5 + 0.75 + 0.5 + 0.8) / 5, 0.5])


def test_open_complaints_weigh_on_the_score() -> None:
    x = rows(survey_score=[10.0, 10.0, np.nan], recommendation_score=np.nan,
             complaints_open=[0.0, 2.0, 1.0])  # fmt: skip
    assert grades.feedback(x).tolist() == pytest.approx([1.0, 0.5, 0.25])


def test_R25_recommendation_loyalty_and_influence_feed_value() -> None:
    x = rows(recommendation_score=[10.0, 0.0, 7.0, np.nan], gap_variation=[np.nan] * 3 + [0.5],
             tenure_days=[np.nan] * 3 + [730.0])  # fmt: skip
    influence = grades.influence(
        [
            None,
            Profile(attributes={"social_influence": "x"}),
            Profile(attributes={"social_influence": "10"}),
            Profile(attributes={"referrals": "1"}),
        ]
    )
    weigh = Advocacy(recommendation=0.1, loyalty=0.2, influence=0.3)
    found = grades.relationship_value(x, np.full(4, 100.0), influence, weigh)
    assert found.tolist() == pytest.approx([110.0, 90.0, 130.0, 100 * (1 + 0.2 * 0.5 + 0.3 * 0.2)])


def test_R25_who_brings_customers_is_worth_more() -> None:
    """Two in two years are one a year: half of an ordinary customer's value. At most five count."""
    x = rows(referrals=[0.0, 2.0, 2.0, 1e6], tenure_days=[730.0, 730.0, 100.0, 365.0])
    found = grades.referral_value(x, 300.0, 365, Advocacy())
    assert found.tolist() == pytest.approx([0.0, 150.0, 300.0, 750.0])
    assert grades.referral_value(x, 300.0, 365, Advocacy(referral=0)).tolist() == [0.0] * 4
    assert grades.referral_value(x, None, 365, Advocacy()).tolist() == [0.0] * 4


def test_R15_a_policy_survives_being_stored() -> None:
    policy = ValuePolicy(margin=0.2)
    assert parse(msgspec.json.encode(policy)) == policy


def test_a_policy_from_before_the_lapse_length_is_read_without_its_own_clock() -> None:
    """A policy of an earlier version is still valid, but for the fields that decided behaviour."""
    older = """{"margin": 0.2, "dormant_gaps": 2.0, "churned_gaps": 5.0, "dormant_days_min": 14.0,
                "churned_days_min": 56.0, "churned_days_max": 730.0}"""
    assert stored(older) == ValuePolicy(margin=0.2)
    with pytest.raises(Invalid):
        stored('{"margin": 0.2, "colour": 1}')


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"vip": {"share": 1.5}}', "vip.share"),
        ('{"vip": {}}', "vip"),
        ('{"vip": {"share": 0.1, "at_least": 3}}', "vip"),
        ('{"high": {"share": 0.5}, "mid": {"share": 0.2}}', "mid.share"),
        ('{"high": {"at_least": 1}, "mid": {"at_least": 2}}', "mid.at_least"),
        ('{"churned_gaps": 1}', "policy"),
        ('{"colour": 1}', "policy"),
        ("nonsense", "policy"),
    ],
)
def test_R15_a_policy_that_contradicts_itself_is_refused(text: str, field: str) -> None:
    with pytest.raises(Invalid) as found:
        parse(text)
    assert found.value.field == field
