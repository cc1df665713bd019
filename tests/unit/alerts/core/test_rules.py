"""Rules of the policy that raise whatever the signs, and how their tasks end (R3)."""

from typing import Any

from msgspec.structs import replace

from services.alerts.core.customer import Closed, CustomerState, answered
from services.alerts.core.policy import decide, purchased
from services.alerts.core.policy_document import read
from shared.contracts.risk import Classification, Reason
from tests.unit.alerts.samples import SILENT, assessed, day, play, sign, words

NEW = CustomerState("c-1")
SILENCE = sign("silence_beyond_rhythm", 0.6, days_silent=20.0)
COMPLAINT = sign("complaint_open", 1.0, complaints_open=1.0)
FREQUENCY = sign("frequency_falling", 0.99)


def test_a_rule_that_raises_raises_whatever_the_band_and_the_signs() -> None:
    """Checks R3."""
    policy = read({
        "signs": {"silence_beyond_rhythm": {"enabled": False}},
        "rules": [{"name": "r", "when": {"lifecycles": ["at_risk"]}, "then": "raise"}],
    })  # fmt: skip
    standing = Classification(lifecycle="at_risk")
    seldom = Reason(code="seldom_buyer", impact=3.0, facts={})
    for signs, reasons, cause in (
        ([SILENCE], [], "silence_beyond_rhythm"),
        ([FREQUENCY, COMPLAINT], [SILENT], "complaint_open"),
        ([], [seldom, SILENT], "silence_beyond_rhythm"),
        ([], [seldom], "policy_rule"),
    ):
        message = assessed(1, 0, "low", signs=signs, reasons=reasons, standing=standing)
        (decision,) = play(NEW, message, policy=policy)
        assert (decision.why, decision.state.open[0].cause) == ("raised", cause)
        again = assessed(2, 40, "low", signs=signs, reasons=reasons, standing=standing)
        assert words(play(decision.state, again, policy=policy)) == ["not_armed"]
    assert words(play(NEW, assessed(1, 0, "low", signs=[SILENCE]), policy=policy)) == ["below"]


def test_a_rule_raises_also_where_its_signs_had_their_task_but_not_twice() -> None:
    rule = {"name": "r", "when": {"lifecycles": ["at_risk"]}, "then": "raise"}
    policy, at_risk = read({"rules": [rule]}), Classification(lifecycle="at_risk")
    first = decide(NEW, assessed(1, 0, signs=[COMPLAINT]), policy).state
    done = answered(replace(first, open=()), ("complaint_open",), day(1), None)
    messages = [assessed(n, n, signs=[COMPLAINT], standing=at_risk) for n in (40, 41)]
    steps = play(done, *messages, policy=policy)
    assert words(steps) == ["raised", "not_armed"]
    assert [(t.cause, t.causes) for t in steps[0].state.open] == [
        ("complaint_open", ("policy_rule",))
    ]
    while_open = play(first, assessed(2, 2, signs=[COMPLAINT], standing=at_risk), policy=policy)
    assert words(while_open) == ["not_armed"]
    after = answered(replace(while_open[0].state, open=()), ("complaint_open",), day(3), None)
    assert words(play(after, messages[0], policy=policy)) == ["not_armed"]


def test_a_rules_task_ends_by_a_purchase_and_not_when_the_rule_holds_no_more() -> None:
    """A rule about a rise holds for one assessment; what it warned about lasts longer."""
    policy = read({"rules": [{"name": "r", "when": {"rise_min": 0.3}, "then": "raise"}]})
    calm: dict[str, Any] = {"signs": [], "reasons": []}
    steps = play(
        NEW,
        assessed(1, 0, "low", probability=0.1, **calm),
        assessed(2, 1, "low", probability=0.5, **calm),
        assessed(3, 2, "low", probability=0.5, **calm),
        policy=policy,
    )
    assert words(steps) == ["no_sign", "raised", "no_sign"]
    (task,) = steps[2].state.open
    assert purchased(steps[2].state, day(3))[1] == (Closed(task, day(3), "came_back"),)


def test_a_rule_and_a_sign_of_one_name_have_one_task() -> None:
    """Its leading reason names the rule's task: a second open one of that name is refused."""
    rule = {"name": "r", "when": {"probability_min": 0.9}, "then": "raise"}
    policy = read({"rules": [rule], "open_tasks_max": 3})
    fell = Reason(code="frequency_falling", impact=1.0, facts={})
    steps = play(
        NEW,
        assessed(1, 0, probability=0.95, signs=[], reasons=[fell]),
        assessed(2, 1, signs=[FREQUENCY], reasons=[fell]),
        policy=policy,
    )
    assert words(steps) == ["raised", "joined"]
    assert [(t.cause, t.causes) for t in steps[1].state.open] == [
        ("frequency_falling", ("policy_rule", "frequency_falling"))
    ]
