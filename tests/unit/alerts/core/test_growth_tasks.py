"""The contents of a task: causes, reasons, what joins it, and the content of a win-back task."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from services.alerts.core.consent import Wishes
from services.alerts.core.customer import CustomerState, Joined, Raised, answered
from services.alerts.core.policy import decide
from services.alerts.core.policy_document import Policy, read
from services.alerts.core.task import Task, TaskInputs, grown, new_task
from services.alerts.core.webhook_payload import body, kind_of, payload_of
from services.alerts.core.wording.tasks import in_full
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import Classification, Reason, RiskAssessed
from tests.unit.alerts.samples import SILENT, assessed, day, raised_task, sign

SILENCE = sign("silence_beyond_rhythm", 0.6, **SILENT.facts)
COMPLAINT = sign("complaint_open", 1.0, complaints_open=1.0, days_since_complaint=2.0)
SELDOM = Reason(code="seldom_buyer", impact=3.0, facts={})
VALUE = Reason(code="value_falling", impact=0.5, facts={})
POLICY = read(
    {"playbooks": [{"id": "heal", "causes": ["complaint_open"], "response_hours": 4,
                    "due_working_days": 1}, {"id": "call", "save_rate": 0.5}]}
)  # fmt: skip
PROFILE = Profile(owner=Owner(id="o-1"))


def made(
    message: RiskAssessed, policy: Policy = POLICY, state: CustomerState | None = None
) -> Task:
    decision = decide(state or CustomerState("c-1"), message, policy)
    (step,) = decision.steps
    assert isinstance(step, Raised)
    return new_task(step, message, Wishes(PROFILE), TaskInputs(policy, 1, day(0)))


def joined(task: Task, message: RiskAssessed, policy: Policy = POLICY) -> Task:
    """Return the task of `assessed(1, 0)` after `message` has joined it."""
    first = decide(CustomerState("c-1"), assessed(1, 0), policy)
    (step,) = decide(first.state, message, policy).steps
    assert isinstance(step, Joined)
    return grown(task, step, message, TaskInputs(policy, 2, day(9)))


LATER: dict[str, Any] = {
    "band": "critical", "probability": 0.8, "value_at_risk": 80.0, "days_silent": 22.0,
    "signs": [COMPLAINT, SILENCE], "reasons": [SELDOM, VALUE],
}  # fmt: skip


def test_what_passes_comes_first_and_traits_are_no_reason() -> None:
    low = sign("value_falling", 0.1)
    policy = read({"signs": {"value_falling": {"strength_min": 0.5}}})
    message = assessed(1, 0, signs=[low, SILENCE, COMPLAINT], reasons=[SELDOM, VALUE])
    task = made(message, policy)
    assert task.causes == ["complaint_open", "silence_beyond_rhythm"]
    assert [(r.code, r.impact) for r in task.reasons] == [
        ("complaint_open", 1.0),
        ("silence_beyond_rhythm", 0.6),
        ("value_falling", 0.5),
    ]


def test_a_rules_task_leads_with_the_first_change() -> None:
    policy = read({"rules": [{"name": "r", "when": {}, "then": "raise"}]})
    task = made(assessed(1, 0, signs=[], reasons=[SELDOM, VALUE]), policy)
    assert (task.cause, task.causes) == ("value_falling", ["policy_rule"])
    assert [r.code for r in task.reasons] == ["value_falling"]
    bare = made(assessed(1, 0, signs=[], reasons=[SELDOM]), policy)
    assert (bare.cause, [r.code for r in bare.reasons]) == ("policy_rule", ["policy_rule"])
    assert (
        payload_of(bare).reasons[0].text == "A rule of the company asks to look after this customer"
    )


def test_a_cause_that_joins_is_sent_as_an_update() -> None:
    task = made(assessed(1, 0))
    after = joined(task, assessed(2, 3, **LATER))
    assert (after.id, after.cause, after.version) == (task.id, task.cause, 2)
    assert after.causes == ["silence_beyond_rhythm", "complaint_open"]
    assert [r.code for r in after.reasons] == [
        "silence_beyond_rhythm", "complaint_open", "value_falling",
    ]  # fmt: skip
    assert (after.band, after.probability, after.value_at_risk) == ("critical", 0.8, 80.0)
    assert (after.worth, after.plan) == (80.0 * 0.5, task.plan)
    assert kind_of(after) == "retention_task.updated"
    assert b'"timestamp":"2017-10-05T09:00:00Z"' in body(after)


def test_times_become_those_that_are_stricter() -> None:
    task = made(assessed(1, 0))
    assert (task.respond_by, task.due_at) == (None, day(3))
    after = joined(task, assessed(2, 1, **LATER))
    assert (after.respond_by, after.due_at) == (day(1) + timedelta(hours=4), day(2))
    early = replace(task, respond_by=day(1), due_at=day(1.5))
    after = joined(early, assessed(2, 1, **LATER))
    assert (after.respond_by, after.due_at) == (day(1), day(1.5))


def test_a_cause_that_joins_wakes_a_snoozed_task_and_sends_nothing_of_a_waiting_one() -> None:
    task = made(assessed(1, 0))
    asleep = replace(task, snoozed_until=day(9), progress="acknowledged")
    after = joined(asleep, assessed(2, 1, **LATER))
    assert (after.snoozed_until, after.progress) == (None, "acknowledged")
    waiting = replace(task, waiting="quiet", tell_at=day(2))
    after = joined(waiting, assessed(2, 1, **LATER))
    assert (after.waiting, after.version, after.changed_at) == ("quiet", 1, None)
    assert kind_of(after) == "retention_task.opened"
    assert after.causes == ["silence_beyond_rhythm", "complaint_open"]


def test_a_cause_that_holds_no_more_keeps_what_was_read_of_it() -> None:
    task = made(assessed(1, 0, reasons=[SILENT]))
    known = decide(CustomerState("c-1"), assessed(1, 0), POLICY).state
    (opened,) = known.open
    step = Joined("c-1", opened, ("complaint_open",), day(1))
    after = grown(
        task, step, assessed(2, 1, signs=[COMPLAINT], reasons=[]), TaskInputs(POLICY, 1, day(9))
    )
    assert [r.facts for r in after.reasons] == [SILENT.facts, COMPLAINT.facts]


GONE: dict[str, Any] = {"days_silent": 31.0, "last_purchase_at": day(-31), "signs": []}


@pytest.mark.parametrize(
    ("grade", "signs", "learned", "playbook"),
    [
        ("vip", [], "price", "vip_win_back_offer"),
        ("vip", ["complaint_open"], None, "vip_win_back_improvement"),
        ("vip", [], "moved", "vip_win_back"),
        ("regular", [], "price", "win_back_offer"),
        ("regular", [], "quality", "win_back_improvement"),
        ("regular", ["recommendation_low"], None, "win_back_improvement"),
        ("regular", [], None, "win_back"),
    ],
)
def test_a_win_back_task_has_the_playbook_of_why_the_customer_left(
    grade: Any, signs: list[str], learned: Any, playbook: str
) -> None:
    """R9, by the default policy. What the customer stated has had its own task before."""
    policy, state = read_policy(Path(POLICY_FILE)), CustomerState("c-1")
    standing = Classification(grade=grade, tier="high")
    if signs:
        shown = assessed(1, 0, signs=[sign(code) for code in signs], days_silent=10.0)
        state = replace(decide(state, shown, policy).state, open=())
    if learned is not None:
        state = answered(state, (), day(0), learned)
    message = assessed(2, 20, standing=standing, **GONE | {"signs": [sign(code) for code in signs]})
    task = made(message, policy, state)
    assert (task.kind, task.cause, task.plan.playbook) == ("win_back", "churned", playbook)
    why = learned or {"complaint_open": "service", "recommendation_low": "quality"}.get(
        "".join(signs)
    )
    assert task.suspected_leaving_cause == payload_of(task).suspected_leaving_cause == why
    assert ("Has probably left because of" in in_full(task, "en")) == (why is not None)
    assert ("可能的流失原因" in in_full(task, "zh-CN")) == (why is not None)
    assert task.reasons[0].code == "churned"
    assert payload_of(task).reasons[0].text == (
        "Has left: used to buy every 9 days, nothing for 31 days"
    )


def test_other_tasks_say_nothing_of_leaving() -> None:
    assert raised_task().suspected_leaving_cause is None
    assert b"leaving" not in body(raised_task())
