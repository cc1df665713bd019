"""The decision table, row by row: who is warned about, and for which cause (R12, R26)."""

import itertools
from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from services.alerts.core.policy import (
    Closed,
    CustomerState,
    Decision,
    Joined,
    OpenTask,
    Policy,
    Raised,
    WarnedCause,
    answered,
    decide,
    end_objectless,
    purchased,
    stable_id,
    task_id,
)
from services.alerts.core.policy_document import read
from shared.contracts.risk import Classification, RiskAssessed
from shared.contracts.signs import URGENCY
from tests.unit.alerts.samples import LAPSE, assessed, day, play, sign, words

NEW = CustomerState("c-1")
POLICY = Policy()
SILENCE = sign("silence_beyond_rhythm", 0.6, days_silent=20.0)
COMPLAINT = sign("complaint_open", 1.0, complaints_open=1.0)
FREQUENCY = sign("frequency_falling", 0.99)
HIGH = Classification(tier="high")


def test_a_sign_raises_one_task_of_its_cause() -> None:
    """Checks R26."""
    (decision,) = play(NEW, assessed(1, 0, "low", signs=[SILENCE, COMPLAINT]))
    (step,) = decision.steps
    causes = ("complaint_open", "silence_beyond_rhythm")
    number = task_id("c-1", "complaint_open", 1)
    assert step == Raised(OpenTask(number, causes[0], day(0), causes=causes), episode=1)
    assert decision.state.open == (step.task,)
    assert decision.state.warned == tuple(WarnedCause(cause, day(0)) for cause in causes)


@pytest.mark.parametrize("code", URGENCY)
def test_every_sign_raises_by_default(code: str) -> None:
    message = assessed(1, 0, "low", signs=[sign(code)], reasons=[], standing=HIGH)
    (decision,) = play(NEW, message)
    assert [step.task.cause for step in decision.steps] == [code]


@pytest.mark.parametrize(("more", "less"), list(itertools.pairwise(URGENCY)))
def test_the_most_urgent_sign_leads(more: str, less: str) -> None:
    message = assessed(1, 0, signs=[sign(less), sign(more)], standing=HIGH)
    (decision,) = play(NEW, message)
    assert [step.task.cause for step in decision.steps] == [more]


@pytest.mark.parametrize("band", ["low", "critical"])
def test_without_a_sign_there_is_no_task_whatever_the_band(band: str) -> None:
    assert words(play(NEW, assessed(1, 0, band, signs=[]))) == ["no_sign"]


@pytest.mark.parametrize("wanted", [
    {"enabled": False}, {"strength_min": 0.7}, {"grades": ["vip"]},
    {"lapse_share_min": 0.7, "days_left_max": 9.9},
    {"tiers": ["high"]}, {"value_at_risk_min": 61.0},
])  # fmt: skip
def test_each_condition_of_a_sign_holds_it_back_by_itself(wanted: dict[str, Any]) -> None:
    """R15: strength 0.6, 20 of 30 days, grade and tier unknown, 60 at risk."""
    policy = read({"signs": {"silence_beyond_rhythm": wanted}})
    assert words(play(NEW, assessed(1, 0), policy=policy)) == ["below"]


@pytest.mark.parametrize("wanted", [
    {"strength_min": 0.6}, {"lapse_share_min": 0.66}, {"grades": ["vip"]}, {"tiers": ["high"]},
    {"lapse_share_min": 0.7, "days_left_max": 10.0},
    {"value_at_risk_min": 60.0},
])  # fmt: skip
def test_a_sign_that_reaches_its_condition_passes(wanted: dict[str, Any]) -> None:
    policy = read({"signs": {"silence_beyond_rhythm": wanted}})
    standing = Classification(grade="vip", tier="high")
    assert words(play(NEW, assessed(1, 0, standing=standing), policy=policy)) == ["raised"]


@pytest.mark.parametrize(
    ("days", "silent", "why"),
    [
        (28.0, 15.9, "below"),
        (28.0, 16.0, "raised"),
        (30.0, 17.9, "below"),
        (30.0, 18.0, "raised"),
        (100.0, 69.9, "below"),
        (100.0, 70.0, "raised"),
    ],
)
def test_by_default_a_silence_is_warned_of_late_and_leaves_time_to_act(
    days: float, silent: float, why: str
) -> None:
    """The warning comes at 0.7 of the lapse length, or when 12 days of it are left."""
    lapse = replace(LAPSE, days=days)
    assert words(play(NEW, assessed(1, 0, days_silent=silent, lapse=lapse))) == [why]


@pytest.mark.parametrize("code", URGENCY)
def test_the_budget_holds_back_what_numbers_suggest_and_nothing_that_was_said(code: str) -> None:
    policy = read({"budget": {"expected_value_min": 100.1}})
    message = assessed(1, 0, signs=[sign(code)], standing=HIGH)
    why = "raised" if code in URGENCY[:4] else "budget"
    assert words(play(NEW, message, policy=policy)) == [why]


@pytest.mark.parametrize(("value", "warned_on"), [(99.9, None), (100.0, 18), (400.0, 18)])
def test_a_budget_decides_who_is_warned_of_and_never_when(
    value: float, warned_on: int | None
) -> None:
    """The probability grows from 0.3 to 0.9: the value at risk passes the level late, or never."""
    silent = [
        assessed(n, n, signs=[replace(SILENCE, strength=n / 30)], days_silent=float(n),
                 last_purchase_at=day(0), probability=n / 30, expected_value=value,
                 value_at_risk=value * n / 30)
        for n in range(9, 28)
    ]  # fmt: skip
    for least, expected in ((None, 18), (100.0, warned_on)):
        policy = read({"budget": {"expected_value_min": least}})
        steps = play(NEW, *silent, policy=policy)
        reported = [m.assessed_at for m, d in zip(silent, steps, strict=True) if d.why == "raised"]
        assert reported == ([] if expected is None else [day(expected)])


@pytest.mark.parametrize("revision", [1, 2])
def test_an_old_revision_changes_nothing(revision: int) -> None:
    before = play(NEW, assessed(2, 5, "low"))[0].state
    decision = decide(before, assessed(revision, 6, "critical"), POLICY)
    assert decision == Decision(before, (), "stale")


def test_frequency_is_not_resolved_by_having_left() -> None:
    steps = play(
        NEW,
        assessed(1, 0, signs=[FREQUENCY], standing=HIGH),
        assessed(2, 10, signs=[], days_silent=31.0, standing=HIGH),
        assessed(3, 11, signs=[], days_silent=1.0, last_purchase_at=day(10)),
    )
    assert words(steps) == ["raised", "joined", "no_sign"]
    assert steps[1].state.open[0].causes == ("frequency_falling", "churned")
    assert [s.reason for s in steps[2].steps if isinstance(s, Closed)] == ["resolved"]


def test_who_stops_comes_back_and_stops_again_is_warned_about_again() -> None:
    """A purchase arms the sign again and waives the cooldown."""
    steps = play(
        NEW,
        assessed(1, 0),
        assessed(2, 4, "low", last_purchase_at=day(3), days_silent=1.0),
        assessed(3, 23, last_purchase_at=day(3), days_silent=20.0),
        assessed(4, 24, last_purchase_at=day(3), days_silent=21.0),
    )
    assert words(steps) == ["raised", "no_sign", "raised", "not_armed"]
    assert steps[2].state.episode == 2


def test_one_warning_for_one_silence_of_whichever_cause() -> None:
    """A later sign about the same silence adds nothing new."""
    both = [sign("slipping_again"), SILENCE]
    steps = play(NEW, assessed(1, 0, signs=both[:1]), assessed(2, 3, signs=both))
    assert words(steps) == ["raised", "not_armed"]


@pytest.mark.parametrize(("away", "at", "why"), [
    (True, 27.9, "cooldown"), (True, 28.0, "raised"), (False, 90.0, "not_armed"),
])  # fmt: skip
def test_a_sign_must_have_been_away_and_the_cooldown_over(away: bool, at: float, why: str) -> None:
    signs = [] if away else [FREQUENCY]
    steps = play(
        NEW,
        assessed(1, 0, signs=[FREQUENCY]),
        assessed(2, 3, signs=signs),
        assessed(3, at, signs=[FREQUENCY]),
    )
    assert words(steps)[-1] == why


def test_a_sign_may_have_a_cooldown_of_its_own() -> None:
    policy = read({"signs": {"complaint_open": {"cooldown_days": 1}}})
    messages = [assessed(n, n * 1.0, signs=[COMPLAINT] * (n % 2)) for n in range(1, 4)]
    assert words(play(NEW, *messages, policy=policy)) == ["raised", "no_sign", "raised"]


def test_after_a_verdict_its_causes_rest() -> None:
    (first,) = play(NEW, assessed(1, 0, signs=[COMPLAINT, SILENCE]))
    state = answered(replace(first.state, open=()), first.state.open[0].causes, day(20), None)
    back: dict[str, Any] = {"last_purchase_at": day(21), "days_silent": 19.0}
    steps = play(
        state,
        assessed(2, 21.5, signs=[], last_purchase_at=day(21), days_silent=0.5),
        assessed(3, 40, signs=[COMPLAINT], **back),
        assessed(4, 47.9, signs=[COMPLAINT], **back),
        assessed(5, 48, signs=[COMPLAINT], **back),
    )
    assert words(steps) == ["no_sign", "cooldown", "cooldown", "raised"]
    assert words(play(state, assessed(2, 40, **back))) == ["raised"]  # silent again


def test_a_verdict_after_the_purchase_lets_the_silence_rest() -> None:
    (first,) = play(NEW, assessed(1, 0))
    state = answered(replace(first.state, open=()), ("silence_beyond_rhythm",), day(10), None)
    back: dict[str, Any] = {"last_purchase_at": day(2)}
    steps = play(
        state,
        assessed(2, 11, signs=[], **back),
        assessed(3, 22, **back),
        assessed(4, 38, **back),
    )
    assert words(steps) == ["no_sign", "cooldown", "raised"]


def test_a_further_cause_joins_the_open_task() -> None:
    steps = play(NEW, assessed(1, 0), assessed(2, 3, signs=[SILENCE, COMPLAINT]))
    (opened,) = steps[0].state.open
    after = OpenTask(opened.id, opened.cause, opened.opened_at,
                     causes=("silence_beyond_rhythm", "complaint_open"))  # fmt: skip
    assert steps[1] == Decision(
        steps[1].state, (Joined("c-1", after, ("complaint_open",), day(3)),), "joined"
    )
    assert steps[1].state.open == (after,)
    assert steps[1].state.episode == 1
    again = assessed(3, 40, signs=[SILENCE, COMPLAINT])
    assert words(play(steps[1].state, again)) == ["not_armed"]


def test_several_open_tasks_where_allowed_but_one_of_a_cause() -> None:
    policy = Policy(open_tasks_max=2)
    steps = play(
        NEW,
        assessed(1, 0),
        assessed(2, 1, signs=[SILENCE, COMPLAINT]),
        assessed(3, 2, signs=[SILENCE, COMPLAINT, FREQUENCY]),
        assessed(4, 3, signs=[SILENCE, COMPLAINT]),
        assessed(5, 40, signs=[SILENCE, COMPLAINT, FREQUENCY]),
        policy=policy,
    )
    assert words(steps) == ["raised", "raised", "joined", "not_armed", "joined"]
    assert [t.causes for t in steps[-1].state.open] == [
        ("silence_beyond_rhythm",),
        ("complaint_open", "frequency_falling"),
    ]


def test_do_not_contact_means_no_task() -> None:
    assert words(play(replace(NEW, do_not_contact_at=day(-9)), assessed(1, 0))) == [
        "do_not_contact"
    ]


def test_a_task_of_which_no_sign_holds_any_more_is_resolved() -> None:
    steps = play(
        NEW,
        assessed(1, 0, signs=[COMPLAINT, FREQUENCY]),
        assessed(2, 1, signs=[FREQUENCY]),
        assessed(3, 2, signs=[]),
    )
    (task,) = steps[1].state.open
    assert [d.steps for d in steps[1:]] == [(), (Closed(task, day(2), "resolved"),)]
    assert steps[2].state.open == ()


def test_a_purchase_does_not_settle_a_complaint() -> None:
    """A task raised by a silence and a complaint ends when the complaint does, too."""
    steps = play(NEW, assessed(1, 0), assessed(2, 1, signs=[SILENCE, COMPLAINT]))
    state, ended = purchased(steps[1].state, day(2))
    assert ended == ()
    back: dict[str, Any] = {"last_purchase_at": day(2), "days_silent": 1.0}
    steps = play(state, assessed(3, 3, signs=[COMPLAINT], **back), assessed(4, 4, signs=[], **back))
    assert [[s.reason for s in d.steps if isinstance(s, Closed)] for d in steps] == [
        [],
        ["resolved"],
    ]


def test_ramp_spreads_those_at_risk_since_before_we_looked() -> None:
    raised_on = []
    for number in range(200):
        customer = f"c-{number}"
        state = CustomerState(customer)
        for at in range(9):
            message = assessed(at + 1, at, customer_id=customer, onboarding=at == 0)
            decision = decide(state, message, POLICY)
            state = decision.state
            if decision.why == "raised":
                raised_on.append(at)
    assert len(raised_on) == 200
    by_day = [raised_on.count(at) for at in range(9)]
    assert by_day[7:] == [0, 0]
    assert all(10 <= count <= 50 for count in by_day[:7])


def test_a_sign_that_goes_ends_the_waiting_for_the_ramp_day() -> None:
    waiting = next(
        d.state
        for n in range(50)
        if (d := decide(CustomerState(f"c-{n}"), _onboarding(f"c-{n}"), POLICY)).why == "ramp"
    )
    low = assessed(2, 1, "low", customer_id=waiting.customer_id)
    high = assessed(3, 2, customer_id=waiting.customer_id)
    assert words(play(waiting, low, high)) == ["no_sign", "raised"]


def _onboarding(customer: str) -> RiskAssessed:
    return assessed(1, 0, customer_id=customer, onboarding=True)


def test_no_ramp_when_it_is_switched_off() -> None:
    assert words(play(NEW, assessed(1, 0, onboarding=True), policy=Policy(ramp_days=0))) == [
        "raised"
    ]


def test_a_purchase_after_the_task_ends_it() -> None:
    """R27: the recovery is recorded."""
    raised = play(NEW, assessed(1, 0))[0].state
    state, ended = purchased(raised, day(3))
    assert ended == (Closed(raised.open[0], day(3), "came_back"),)
    assert state.open == ()


def test_it_ends_at_the_first_of_several_that_are_known() -> None:
    raised = play(NEW, assessed(1, 0))[0].state
    state, ended = purchased(replace(raised, purchased_at=day(11)), day(3))
    assert ended == (Closed(raised.open[0], day(3), "came_back"),)
    assert (state.open, state.purchased_at) == ((), day(11))


@pytest.mark.parametrize("at", [day(-1), day(0)])
def test_a_purchase_before_the_task_does_not(at: datetime) -> None:
    raised = play(NEW, assessed(1, 0))[0].state
    state, ended = purchased(raised, at)
    assert ended == ()
    assert state.open == raised.open


def test_an_assessment_reports_the_purchase_too() -> None:
    steps = play(NEW, assessed(1, 0), assessed(2, 4, "low", last_purchase_at=day(3)))
    assert steps[1].steps == (Closed(steps[0].state.open[0], day(3), "came_back"),)


def test_an_assessment_read_before_the_activity_ends_it_at_the_purchase_that_it_knows() -> None:
    """The first of several purchases, read afterwards, changes nothing any more."""
    steps = play(NEW, assessed(1, 0), assessed(2, 4, "low", last_purchase_at=day(3)))
    state, ended = purchased(steps[1].state, day(2))
    assert ended == ()
    assert (state.open, state.purchased_at) == ((), day(3))


def test_overtaken_by_a_purchase_the_task_is_raised_and_ends_at_once() -> None:
    state, _ = purchased(NEW, day(3))
    (decision,) = play(state, assessed(1, 0))
    assert [type(step) for step in decision.steps] == [Raised, Closed]
    assert decision.state.open == ()


def test_do_not_contact_ends_open_tasks() -> None:
    raised = play(NEW, assessed(1, 0))[0].state
    _, ended = end_objectless(replace(raised, do_not_contact_at=day(1)))
    assert ended == (Closed(raised.open[0], day(1), "do_not_contact"),)


def test_a_new_task_may_follow_the_end_of_the_old_in_one_step() -> None:
    steps = play(
        NEW,
        assessed(1, 0),
        assessed(2, 40, last_purchase_at=day(20)),
    )
    assert [type(step) for step in steps[1].steps] == [Closed, Raised]


@pytest.mark.parametrize(
    ("left", "right"), [(("a", "bc"), ("ab", "c")), (("a",), ("a", "")), (("1", "2"), ("2", "1"))]
)
def test_ids_keep_their_parts_apart(left: Any, right: Any) -> None:
    assert stable_id(*left) != stable_id(*right)
