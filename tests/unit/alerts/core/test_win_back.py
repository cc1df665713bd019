"""Customers who are gone: won back once for each silence, or treated as history (R9)."""

from typing import Any

import pytest

from services.alerts.core.customer import CustomerState, Raised, answered
from services.alerts.core.policy_document import Policy, read
from shared.contracts.risk import Classification
from shared.contracts.signs import URGENCY
from tests.unit.alerts.samples import assessed, day, play, sign, words

NEW = CustomerState("c-1")
SILENCE = sign("silence_beyond_rhythm", 0.6, days_silent=20.0)
COMPLAINT = sign("complaint_open", 1.0, complaints_open=1.0)
HIGH = Classification(tier="high")
GONE: dict[str, Any] = {"days_silent": 30.0, "last_purchase_at": day(-30), "standing": HIGH}


def test_who_is_missed_is_won_back_once_for_each_silence() -> None:
    """Checks R9."""
    steps = play(
        NEW,
        assessed(1, 0, "low", signs=[], **GONE),
        assessed(2, 40, "low", signs=[], **GONE | {"days_silent": 70.0}),
        assessed(3, 50, "low", signs=[], standing=HIGH, last_purchase_at=day(49), days_silent=1.0),
        assessed(4, 80, "low", standing=HIGH, last_purchase_at=day(49), days_silent=31.0),
    )
    assert words(steps) == ["raised", "gone", "no_sign", "raised"]
    assert [s.task.cause for d in steps for s in d.steps if isinstance(s, Raised)] == [
        "churned"
    ] * 2


def test_who_was_warned_about_in_time_is_not_won_back() -> None:
    steps = play(NEW, assessed(1, 0, standing=HIGH), assessed(2, 10, **GONE))
    assert words(steps) == ["raised", "gone"]


@pytest.mark.parametrize(("least", "why"), [(100.1, "budget"), (100.0, "raised")])
def test_who_is_gone_must_be_worth_the_budget_to_be_won_back(least: float, why: str) -> None:
    """The value stays the same during a silence, but the level may have been lowered."""
    steps = play(NEW, assessed(1, 0, standing=HIGH), policy=budget(100.1))
    assert words(steps) == ["budget"]
    gone = assessed(2, 10, value_at_risk=99.0, **GONE)
    (decision,) = play(steps[0].state, gone, policy=budget(least))
    assert decision.why == why
    assert [task.cause for task in decision.state.open] == ["churned"] * (why == "raised")


def budget(least: float) -> Policy:
    return read({"budget": {"expected_value_min": least}})


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ({"days_silent": 121.1}, {}),
        ({"days_silent": None}, {}),
        ({"lapse": None}, {}),
        ({"standing": Classification(tier="low")}, {}),
        ({"standing": None}, {}),
        ({}, {"win_back": None}),
        ({}, {"win_back": {"grades": ["vip"]}}),
        ({}, {"win_back": {"value_at_risk_min": 61.0}}),
    ],
)
def test_who_is_not_won_back(changes: dict[str, Any], policy: dict[str, Any]) -> None:
    message = assessed(1, 0, **GONE | changes)
    assert words(play(NEW, message, policy=read(policy))) == ["gone"]


def test_a_customer_who_is_gone_may_still_complain() -> None:
    missed = assessed(1, 0, **GONE | {"signs": [COMPLAINT, SILENCE]})
    (decision,) = play(NEW, missed)
    assert decision.state.open[0].causes == ("complaint_open", "churned")
    never_bought = assessed(1, 0, signs=[sign("contract_ending")], lapse=None, days_silent=None)
    assert words(play(NEW, never_bought)) == ["raised"]


def test_who_was_gone_before_we_looked_is_history() -> None:
    """The past raises no task; a purchase or a new complaint ends that."""
    signs = [COMPLAINT, SILENCE]
    steps = play(
        NEW,
        assessed(1, 0, onboarding=True, signs=signs, **GONE),
        assessed(2, 1, signs=signs, **GONE | {"days_silent": 31.0}),
        assessed(3, 2, signs=[SILENCE], **GONE | {"days_silent": 32.0}),
        assessed(4, 29, signs=signs, **GONE | {"days_silent": 59.0}),
    )
    assert words(steps) == ["history", "not_armed", "gone", "raised"]
    back = assessed(5, 52, standing=HIGH, last_purchase_at=day(31), days_silent=21.0)
    assert words(play(steps[2].state, back)) == ["raised"]


@pytest.mark.parametrize(
    ("signs", "learned", "expected"),
    [
        ([COMPLAINT], (day(-10), "price"), "price"),
        ([COMPLAINT], (day(-31), "price"), "service"),
        ([sign("satisfaction_low")], None, "quality"),
        ([sign("recommendation_low")], None, "quality"),
        ([SILENCE], None, None),
    ],
)
def test_why_the_customer_left_as_far_as_it_is_known(
    signs: list[Any], learned: Any, expected: str | None
) -> None:
    """What an owner learned before the last purchase no longer counts."""
    policy = read({"signs": {code: {"enabled": False} for code in URGENCY}})
    state = NEW if learned is None else answered(NEW, (), *learned)
    (decision,) = play(state, assessed(1, 0, **GONE | {"signs": signs}), policy=policy)
    (step,) = decision.steps
    assert isinstance(step, Raised)
    assert (step.task.cause, step.leaving) == ("churned", expected)
