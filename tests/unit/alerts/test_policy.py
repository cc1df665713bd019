"""The decision table, row by row (R12 R26: who is warned about, and for which cause)."""

from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from services.alerts.core.policy import (
    Closed,
    CustomerState,
    Decision,
    OpenTask,
    Policy,
    Raised,
    decide,
    purchased,
    settle,
    stable_id,
    task_id,
)
from shared.contracts.risk import Reason, RiskAssessed
from tests.unit.alerts.samples import SILENT, assessed, day

NEW = CustomerState("c-1")
POLICY = Policy()


def play(state: CustomerState, *messages: RiskAssessed, policy: Policy = POLICY) -> list[Decision]:
    """Decide one message after the other."""
    decisions = []
    for message in messages:
        decisions.append(decide(state, message, policy))
        state = decisions[-1].state
    return decisions


def words(decisions: list[Decision]) -> list[str]:
    """Which row applied."""
    return [d.why for d in decisions]


def test_high_raises_one_task_for_the_leading_reason() -> None:
    first = Reason(code="complaint_open", impact=2.0, facts={})
    (decision,) = play(NEW, assessed(1, 0, reasons=[first, SILENT]))
    (step,) = decision.steps
    assert step == Raised(
        OpenTask(task_id("c-1", "complaint_open", 1), "complaint_open", day(0)), episode=1
    )
    assert decision.state.open == (step.task,)
    assert not decision.state.armed


SELDOM = Reason(code="seldom_buyer", impact=3.0, facts={})


@pytest.mark.parametrize("reasons", [[], [SELDOM]])
def test_without_a_change_there_is_no_task(reasons: list[Reason]) -> None:
    """R26: a task warns of something that fell or fell silent, never of how somebody is."""
    assert words(play(NEW, assessed(1, 0, reasons=reasons))) == ["unchanged"]


def test_the_cause_is_the_leading_change() -> None:
    (decision,) = play(NEW, assessed(1, 0, reasons=[SELDOM, SILENT]))
    assert decision.state.open[0].cause == "silence_beyond_rhythm"


def test_a_change_that_comes_later_raises_then() -> None:
    steps = play(NEW, assessed(1, 0, reasons=[SELDOM]), assessed(2, 9, reasons=[SELDOM, SILENT]))
    assert words(steps) == ["unchanged", "raised"]


def test_traits_are_a_setting() -> None:
    """R15"""
    policy = Policy(traits=frozenset())
    assert words(play(NEW, assessed(1, 0, reasons=[SELDOM]), policy=policy)) == ["raised"]


@pytest.mark.parametrize("band", ["low", "watch"])
def test_below_the_band_nothing_happens(band: str) -> None:
    assert words(play(NEW, assessed(1, 0, band))) == ["below"]


def test_the_band_from_which_is_a_setting() -> None:
    """R15"""
    policy = Policy(band_raise="critical")
    assert words(play(NEW, assessed(1, 0, "high"), assessed(2, 1, "critical"), policy=policy)) == [
        "below",
        "raised",
    ]


@pytest.mark.parametrize("revision", [1, 2])
def test_an_old_revision_changes_nothing(revision: int) -> None:
    before = play(NEW, assessed(2, 5, "low"))[0].state
    decision = decide(before, assessed(revision, 6, "critical"), POLICY)
    assert decision == Decision(before, (), "stale")


@pytest.mark.parametrize(
    ("days_silent", "why"), [(28.0, "raised"), (28.1, "win_back"), (None, "win_back")]
)
def test_beyond_the_horizon_it_is_win_back(days_silent: float | None, why: str) -> None:
    assert words(play(NEW, assessed(1, 0, days_silent=days_silent))) == [why]


def test_hysteresis_a_second_task_needs_a_fall_below() -> None:
    steps = play(
        NEW,
        assessed(1, 0),
        assessed(2, 40, "critical", last_purchase_at=day(30)),
        assessed(3, 50, "watch"),
        assessed(4, 60, last_purchase_at=day(55)),
    )
    assert words(steps) == ["raised", "not_armed", "below", "raised"]
    assert steps[-1].state.episode == 2


@pytest.mark.parametrize(("at", "why"), [(27.9, "cooldown"), (28.0, "raised")])
def test_cooldown_counts_from_the_last_task(at: float, why: str) -> None:
    came_back = {"last_purchase_at": day(2)}
    steps = play(NEW, assessed(1, 0), assessed(2, 3, "low", **came_back), assessed(3, at))
    assert words(steps) == ["raised", "below", why]


def test_after_the_cooldown_a_heartbeat_raises() -> None:
    steps = play(
        NEW,
        assessed(1, 0),
        assessed(2, 3, "low", last_purchase_at=day(2)),
        assessed(3, 20, last_purchase_at=day(2)),
        assessed(4, 28, last_purchase_at=day(2)),
    )
    assert words(steps) == ["raised", "below", "cooldown", "raised"]


def test_at_most_one_open_task_of_a_customer_by_default() -> None:
    other = Reason(code="complaint_open", impact=2.0, facts={})
    steps = play(NEW, assessed(1, 0), assessed(2, 30, "low"), assessed(3, 40, reasons=[other]))
    assert words(steps) == ["raised", "below", "limit"]


def test_several_open_tasks_where_allowed_but_never_two_of_a_cause() -> None:
    policy = Policy(open_tasks_max=3)
    other = Reason(code="complaint_open", impact=2.0, facts={})
    steps = play(
        NEW,
        assessed(1, 0),
        assessed(2, 30, "low"),
        assessed(3, 40),
        assessed(4, 41, reasons=[other]),
        policy=policy,
    )
    assert words(steps) == ["raised", "below", "limit", "raised"]
    assert [t.cause for t in steps[-1].state.open] == ["silence_beyond_rhythm", "complaint_open"]


def test_do_not_contact_means_no_task() -> None:
    assert words(play(replace(NEW, do_not_contact_at=day(-9)), assessed(1, 0))) == [
        "do_not_contact"
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


def test_a_fall_below_ends_the_waiting_for_the_ramp_day() -> None:
    waiting = next(
        d.state
        for n in range(50)
        if (d := decide(CustomerState(f"c-{n}"), _onboarding(f"c-{n}"), POLICY)).why == "ramp"
    )
    low = assessed(2, 1, "low", customer_id=waiting.customer_id)
    high = assessed(3, 2, customer_id=waiting.customer_id)
    assert words(play(waiting, low, high)) == ["below", "raised"]


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


def test_an_assessment_tells_of_the_purchase_too() -> None:
    steps = play(NEW, assessed(1, 0), assessed(2, 4, "low", last_purchase_at=day(3)))
    assert steps[1].steps == (Closed(steps[0].state.open[0], day(3), "came_back"),)


def test_overtaken_by_a_purchase_the_task_is_raised_and_ends_at_once() -> None:
    state, _ = purchased(NEW, day(3))
    (decision,) = play(state, assessed(1, 0))
    assert [type(step) for step in decision.steps] == [Raised, Closed]
    assert decision.state.open == ()


def test_do_not_contact_ends_open_tasks() -> None:
    raised = play(NEW, assessed(1, 0))[0].state
    _, ended = settle(replace(raised, do_not_contact_at=day(1)))
    assert ended == (Closed(raised.open[0], day(1), "do_not_contact"),)


def test_a_new_task_may_follow_the_end_of_the_old_in_one_step() -> None:
    steps = play(
        NEW,
        assessed(1, 0),
        assessed(2, 20, "low"),
        assessed(3, 40, last_purchase_at=day(30)),
    )
    assert [type(step) for step in steps[2].steps] == [Closed, Raised]


@pytest.mark.parametrize(
    ("left", "right"), [(("a", "bc"), ("ab", "c")), (("a",), ("a", "")), (("1", "2"), ("2", "1"))]
)
def test_ids_keep_their_parts_apart(left: Any, right: Any) -> None:
    assert stable_id(*left) != stable_id(*right)
