"""Signs of leaving: feedback, silences, and laws of all signs."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.risk.lapse import LapseClock, silences_of
from services.scoring.core.risk.rhythm import assessable
from services.scoring.core.signs.detectors import (
    ANSWER_DAYS_MAX,
    CODES,
    DETECTORS,
    SCORE_DROP,
    SCORE_LOW,
    SERVICE_DAYS,
    SILENCE_SHARE,
    SILENCES,
    VIP,
    Seen,
    codes_of,
    detect,
    wait_s,
)
from services.scoring.core.value.grades import GRADES, REGULAR
from services.scoring.core.value.lifecycle import AT_RISK, LIFECYCLES, MATURE, WON_BACK
from services.scoring.model.rule_model import RuleModel
from shared.contracts.risk import Sign
from tests.unit.scoring.core.detector_inputs import bits, holding, seen, signs
from tests.unit.scoring.core.feature_rows import rows, seen_at
from tests.unit.scoring.core.histories import columns
from tests.unit.scoring.core.strategies import CUSTOMERS, batches, nothing

COMPLAINT = "complaint_open"


def test_a_code_keeps_its_place() -> None:
    """Bits are stored and compared with published signs: new codes come last."""
    assert CODES[:9] == (
        "complaint_open", "satisfaction_low", "recommendation_low", "slipping_again",
        "silence_beyond_rhythm", "frequency_falling", "interaction_falling", "value_falling",
        "new_and_quiet",
    )  # fmt: skip
    assert len(DETECTORS) <= 15, "bits of a smallint, without its sign"
    assert codes_of(0) == []
    assert codes_of(0b1_0000_0101) == ["complaint_open", "recommendation_low", "new_and_quiet"]
    assert bits("slipping_again", "silence_beyond_rhythm", "new_and_quiet") == SILENCES


# Complaints.


@pytest.mark.parametrize(
    ("opened", "age", "grade", "before", "wanted"),
    [
        (1.0, SERVICE_DAYS - 0.001, REGULAR, (), False),
        (1.0, SERVICE_DAYS, REGULAR, (), True),
        (1.0, SERVICE_DAYS, -1, (), True),
        (1.0, 0.0, VIP, (), True),
        # Of two open ones the other has waited for longer.
        (2.0, 0.0, REGULAR, (), True),
        # A sign ends when the last one is closed, not when a newer complaint is younger.
        (1.0, 0.0, REGULAR, (COMPLAINT,), True),
        (0.0, 40.0, VIP, (COMPLAINT,), False),
        (0.0, np.nan, VIP, (), False),
    ],
)
def test_complaint_open(
    opened: float, age: float, grade: int, before: tuple[str, ...], wanted: bool
) -> None:
    x = rows(complaints_open=opened, complaint_recency_days=age)
    assert (holding(seen(x, grade=grade), *before) == [[COMPLAINT]]) is wanted


def test_a_complaint_is_quoted_with_its_age() -> None:
    """Opened at noon of day 100, once more at noon of day 101, one of them closed on day 102."""
    events = columns(
        time=np.array([90.5, 100.5, 101.5, 102.5]) * DAY_S,
        kind=[Kind.PURCHASE, Kind.COMPLAINT_OPENED, Kind.COMPLAINT_OPENED, Kind.COMPLAINT_CLOSED],
    )
    facts = {"complaints_open": 1.0, "days_since_complaint": 2.0}
    wanted = [Sign(code=COMPLAINT, strength=1.0, facts=facts)]
    assert signs(seen(seen_at(103.5, events))) == wanted


def test_a_complaint_waits_until_its_due_day() -> None:
    x = rows(
        complaints_open=[1.0, 1.0, 1.0, 0.0, 0.0, 2.0],
        complaint_recency_days=[0.0, 0.25 * SERVICE_DAYS, SERVICE_DAYS, 0.5, np.nan, 0.5],
    )
    wait = SERVICE_DAYS * DAY_S
    # The second complaint of two has waited, too, though their sign holds already.
    wanted = [wait, 0.75 * wait, math.inf, math.inf, math.inf, wait - 0.5 * DAY_S]
    assert wait_s(x).tolist() == wanted


# Contracts.


def test_a_contract_is_about_to_end_within_its_notice() -> None:
    """Not known, in 31 days, in 30, today; and when the assessment for it is due."""
    x = rows(purchase_days=1.0, contract_rest_days=[np.nan, 31.0, 30.0, 0.0])
    assert holding(seen(x)) == [[], [], ["contract_ending"], ["contract_ending"]]
    assert signs(seen(x[2:3]))[0].facts == {"days_to_end": 30.0}
    assert wait_s(x).tolist() == [math.inf, DAY_S, math.inf, math.inf]


# Sources.


def test_a_silence_of_who_is_not_heard_of_is_no_sign() -> None:
    """Their source has stopped delivering; their feedback still counts."""
    x = rows(
        purchase_days=8.0, gap_recent_days=7.0, recency_days=20.0,
        complaints_open=1.0, complaint_recency_days=3.0,
    )  # fmt: skip
    assert holding(seen(x)) == [["complaint_open", "silence_beyond_rhythm"]]
    assert holding(seen(x, unheard=True)) == [["complaint_open"]]


# Answers.

ANSWERS = pytest.mark.parametrize(
    ("name", "code"),
    [("survey", "satisfaction_low"), ("recommendation", "recommendation_low")],
)


@ANSWERS
@pytest.mark.parametrize(
    ("score", "change", "age", "wanted"),
    [
        (SCORE_LOW, 0.0, 0.0, True),
        (SCORE_LOW, np.nan, 0.0, True),
        (SCORE_LOW + 1, np.nan, 0.0, False),
        (SCORE_LOW + 1, SCORE_DROP, 0.0, True),
        (SCORE_LOW + 1, SCORE_DROP + 1, 0.0, False),
        (0.0, -9.0, ANSWER_DAYS_MAX, True),
        (0.0, -9.0, ANSWER_DAYS_MAX + 0.01, False),
        (np.nan, np.nan, np.nan, False),
    ],
)
def test_low_and_fallen_survey_answers_are_signs(
    name: str, code: str, score: float, change: float, age: float, wanted: bool
) -> None:
    """Low, or fallen far, and not too long ago; there is no state between assessments."""
    given = {"score": score, "change": change, "recency_days": age}
    x = rows(**{f"{name}_{what}": value for what, value in given.items()})
    for before in ((), (code,)):
        assert (holding(seen(x), *before) == [[code]]) is wanted


@ANSWERS
def test_an_answer_is_quoted_with_its_change_where_there_was_one_before(
    name: str, code: str
) -> None:
    kind = {"survey": Kind.SURVEY, "recommendation": Kind.RECOMMENDATION}[name]
    fell = columns(time=[50 * DAY_S, 60 * DAY_S], kind=[kind, kind], score=[9.0, 1.0])
    facts = {f"{name}_score": 1.0, f"{name}_change": -8.0}
    assert signs(seen(seen_at(60.0, fell))) == [Sign(code=code, strength=1.0, facts=facts)]
    first = columns(time=[60 * DAY_S], kind=[kind], score=[4.0])
    wanted = [Sign(code=code, strength=1.0, facts={f"{name}_score": 4.0})]
    assert signs(seen(seen_at(60.0, first))) == wanted


# SilenceColumns.


@pytest.mark.parametrize(
    ("purchase_days", "lifecycle", "code"),
    [
        (6.0, MATURE, "silence_beyond_rhythm"),
        (6.0, AT_RISK, "silence_beyond_rhythm"),
        (6.0, -1, "silence_beyond_rhythm"),
        (2.0, MATURE, "silence_beyond_rhythm"),
        (1.0, MATURE, "new_and_quiet"),
        (6.0, WON_BACK, "slipping_again"),
        (1.0, WON_BACK, "slipping_again"),
    ],
)
def test_a_long_silence_is_exactly_one_sign(
    purchase_days: float, lifecycle: int, code: str
) -> None:
    """From half the lapse length on, exactly one of the three, depending on the customer."""
    gap = 10.0 if purchase_days > 1 else np.nan
    known = {"purchase_days": purchase_days, "gap_recent_days": gap, "gap_mean_days": gap}
    length = float(silences_of(rows(recency_days=0.0, **known), LapseClock()).days[0])
    silent = [f * SILENCE_SHARE * length for f in (0.0, 0.999, 1.0, 1.9, 2.0, 9.0)]
    x = rows(recency_days=silent, **known)
    none: list[str] = []
    wanted = [none, none, [code], [code], [code], [code]]
    assert holding(seen(x, lifecycle=lifecycle)) == wanted
    assert holding(seen(x, lifecycle=lifecycle), code) == wanted


@pytest.mark.parametrize("lifecycle", [WON_BACK, AT_RISK, MATURE])
def test_who_was_slipping_is_so_until_a_purchase(lifecycle: int) -> None:
    """The silence itself leads from won back to at risk, and the sign keeps its name."""
    x = rows(
        recency_days=[19.0, 24.0, 60.0], purchase_days=6.0, gap_recent_days=10.0,
        gap_mean_days=10.0,
    )  # fmt: skip
    wanted = [[], ["slipping_again"], ["slipping_again"]]
    assert holding(seen(x, lifecycle=lifecycle), "slipping_again") == wanted


def test_a_silence_is_quoted_against_the_own_rhythm() -> None:
    """Gaps of 9, 11, 6 and 14 days with a mean of 10: a lapse takes 40. The silence is 24 days."""
    events = columns(time=(np.array([0, 9, 20, 26, 40]) + 0.5) * DAY_S)
    found = signs(seen(seen_at(64.5, events), probability=0.8125))
    facts = {
        "days_silent": 24.0, "usual_gap_days": 10.0, "longest_gap_days": 14.0, "lapse_days": 40.0,
        "lapse_share": 0.6, "purchase_days": 5.0,
    }  # fmt: skip
    assert found == [Sign(code="silence_beyond_rhythm", strength=0.8125, facts=facts)]


def test_a_newcomer_s_silence_is_quoted_without_a_gap() -> None:
    """One purchase: 4 x 56 days are beyond the ceiling of 180, half of which is 90."""
    found = signs(seen(seen_at(100.5, columns(time=[10.5 * DAY_S])), probability=0.7))
    facts = {"days_silent": 90.0, "lapse_days": 180.0, "lapse_share": 0.5, "purchase_days": 1.0}
    assert found == [Sign(code="new_and_quiet", strength=0.7, facts=facts)]


def test_signs_stand_beside_each_other_most_urgent_first() -> None:
    x = rows(
        purchase_days=6.0, gap_recent_days=10.0, gap_mean_days=10.0, recency_days=30.0,
        complaints_open=1.0, complaint_recency_days=5.0,
        recommendation_score=2.0, recommendation_recency_days=5.0,
    )  # fmt: skip
    codes = ["complaint_open", "recommendation_low", "silence_beyond_rhythm"]
    assert [one.code for one in signs(seen(x))] == codes


def test_no_customers_have_no_signs() -> None:
    found = detect(seen(rows(recency_days=1.0)[:0]), np.zeros(0, np.int16))
    assert found.bits.tolist() == []


def test_a_memory_that_has_faded_to_nothing_is_no_sign() -> None:
    """After twenty years of silence a week's memory is so small that a quotient overflows."""
    faded = dict.fromkeys(("purchases_decayed_7", "amount_decayed_7"), 1e-311)
    priced = {"purchases": 9.0, "spent": 90.0, "order_value": 10.0, "order_value_variance": 0.04}
    found = detect(seen(rows(recency_days=7_226.0, **priced, **faded)), np.zeros(1, np.int16))
    assert not found.bits[0] >> CODES.index("value_falling") & 1


@given(
    events=batches,
    age=st.floats(-30 * DAY_S, 400 * DAY_S),
    grade=st.integers(-1, len(GRADES) - 1),
    lifecycle=st.integers(-1, len(LIFECYCLES) - 1),
    before=st.integers(0, (1 << len(CODES)) - 1),
)
def test_whatever_happened_a_sign_can_be_published(
    events: EventColumns, age: float, grade: int, lifecycle: int, before: int
) -> None:
    """No exception, strengths within 0-1, only finite facts, and a message that can be read."""
    now = (float(events.time.max()) if len(events) else 1.5e9) + age
    x = features(fold(nothing(), events), np.full(CUSTOMERS, now))
    clocks, lapse = silences_of(x, LapseClock()), np.full(CUSTOMERS, np.nan)
    bought = assessable(x)
    rule = RuleModel(28)
    lapse[bought] = rule.lapse_probability(x[bought], rule.predict(x[bought]), clocks.rest[bought])
    look = Seen(
        x,
        clocks,
        lapse,
        np.full(CUSTOMERS, grade, np.int8),
        np.full(CUSTOMERS, lifecycle, np.int8),
        np.zeros(CUSTOMERS, np.bool_),
        np.full(CUSTOMERS, now),
    )
    found = detect(look, np.full(CUSTOMERS, before, np.int16))
    for row in range(CUSTOMERS):
        for sign in (told := found.of(row)):
            assert 0.0 <= sign.strength <= 1.0
            assert all(math.isfinite(value) for value in sign.facts.values())
        assert msgspec.json.decode(msgspec.json.encode(told), type=list[Sign]) == told
        assert [one.code for one in told] == codes_of(int(found.bits[row]))
