"""The policy document: refusals, diffs of changes, and the meaning of its rules."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.alerts.core.business_hours import WorkingCalendar
from services.alerts.core.consent import Wishes, allowed
from services.alerts.core.experiment_subject import new_trial
from services.alerts.core.holdout import drawn
from services.alerts.core.playbook import choose
from services.alerts.core.policy import CustomerState, HeldOutTask, Raised, WarnedCause, decide
from services.alerts.core.policy_document import (
    Hours,
    Policy,
    WinBack,
    difference,
    plain,
    read,
    upgrade,
)
from services.alerts.core.task import TaskInputs, new_task
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import Classification
from shared.kernel.errors import Invalid
from tests.unit.alerts.samples import assessed, day, sign

NEW = CustomerState("c-1")
VIP = Classification(grade="vip", tier="high", lifecycle="mature", segments=["s-1"])


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"cooldown_days": "28"}, "cooldown_days"),
        ({"cool": 1}, "cool"),
        ({"band_raise": "high"}, "band_raise"),
        ({"signs": {"moon_phase": {}}}, "signs"),
        ({"signs": {"complaint_open": {"strength_min": 2}}}, "signs"),
        ({"signs": {"complaint_open": None}}, "signs"),
        ({"signs": []}, "signs"),
        ({"budget": {"expected_value_min": -1}}, "budget.expected_value_min"),
        ({"budget": {"value_at_risk_min": 1}}, "value_at_risk_min"),
        ({"win_back": {"tiers": ["best"]}}, "win_back.tiers"),
        ({"holdout": {"share": 0.9}}, "holdout.share"),
        ({"hours": {"time_zone": "Mars/Base"}}, "Mars/Base"),
        ({"hours": {"quiet_from": "20:00"}}, "quiet_until"),
        ({"rules": [{"name": "a", "when": {"bands": ["x"]}, "then": "raise"}]}, "rules[0].when"),
        ({"playbooks": [{"id": "a"}, {"id": "a"}]}, "twice"),
        ({"on_segment": [{"segment": "s", "playbook": "p", "title": {"en": "a", "zh-CN": "b"}}]},
         "no playbook 'p'"),
        ([], "object"),
    ],
)  # fmt: skip
def test_a_wrong_document_is_refused_with_its_place(document: object, place: str) -> None:
    with pytest.raises(Invalid) as wrong:
        read(document)
    assert place in str(wrong.value)


def test_a_change_is_shown_as_a_diff_of_what_changed() -> None:
    """The audit shows what changed in a rule."""
    before = read({})
    after = read({"cooldown_days": 14})
    changed = [line for line in difference(before, after) if line[0] in "+-" and line[1] == " "]
    assert changed == ['-  "cooldown_days": 28,', '+  "cooldown_days": 14,']
    assert difference(before, read(plain(before))) == []


def policy(**changes: Any) -> Policy:
    return read(changes)


def why(message: Any, chosen: Policy, state: CustomerState = NEW) -> str:
    return decide(state, message, chosen).why


def test_a_document_overrides_the_defaults_of_a_sign() -> None:
    chosen = policy(signs={"silence_beyond_rhythm": {"grades": ["vip"]}})
    sign = chosen.sign("silence_beyond_rhythm")
    assert (sign.grades, sign.lapse_share_min, sign.strength_min) == (["vip"], 0.7, 0.25)
    assert chosen.sign("new_and_quiet") == Policy().sign("new_and_quiet")


def test_the_policy_that_comes_along_writes_out_what_is_the_default() -> None:
    shipped = read_policy(Path(POLICY_FILE))
    for part in ("signs", "budget", "win_back", "cooldown_days", "open_tasks_max"):
        assert getattr(shipped, part) == getattr(Policy(), part)


BEFORE_SIGNS = {
    "name": "ours", "band_raise": "critical", "band_raise_by_grade": {"vip": "watch"},
    "traits": ["seldom_buyer"], "win_back_within_days": None, "cooldown_days": 14,
}  # fmt: skip


def test_a_document_of_an_earlier_version_still_loads() -> None:
    """Bands no longer decide anything; the other fields are kept."""
    loaded = read(upgrade(BEFORE_SIGNS))
    assert loaded == read({"name": "ours", "cooldown_days": 14})
    assert loaded.win_back == WinBack()
    within = read(upgrade(BEFORE_SIGNS | {"win_back_within_days": 200}))
    assert within.win_back == WinBack(within_days=200, tiers=())
    assert read(upgrade(plain(within))) == within
    assert read(upgrade(plain(policy(win_back=None)))).win_back is None


def test_a_sign_by_grade() -> None:
    """Checks R15."""
    chosen = policy(signs={"silence_beyond_rhythm": {"grades": ["vip"]}})
    assert why(assessed(1, 0, standing=VIP), chosen) == "raised"
    assert why(assessed(1, 0, standing=Classification(grade="regular")), chosen) == "below"
    assert why(assessed(1, 0), chosen) == "below"


def chosen_rules(when: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "r", "when": when, "then": "raise"}]


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"grades": ["vip"]}, True),
        ({"grades": ["regular"]}, False),
        ({"segments_any": ["s-1", "s-2"]}, True),
        ({"segments_none": ["s-1"]}, False),
        ({"lifecycles": ["mature"]}, True),
        ({"value_at_risk_min": 60}, True),
        ({"value_at_risk_min": 61}, False),
        ({"probability_min": 0.5, "probability_max": 0.7}, True),
        ({"rise_min": 0.3}, True),
        ({"rise_min": 0.5}, False),
        ({"reasons_any": ["silence_beyond_rhythm"]}, True),
        ({"reasons_any": ["complaint_open"]}, False),
        ({"reasons_any": ["value_falling"]}, True),
        ({"days_silent_max": 10}, False),
    ],
)
def test_each_condition_decides_by_itself(when: dict[str, Any], holds: bool) -> None:
    """R3, R16: each condition decides by itself whether a rule raises, whatever the band."""
    first = assessed(1, 0, "low", standing=VIP, probability=0.2, value_at_risk=0.0, reasons=[],
                     days_silent=20.0)  # fmt: skip
    state = decide(NEW, first, policy()).state
    second = assessed(2, 1, "low", standing=VIP, signs=[sign("value_falling")], value_at_risk=60.0)
    off = {"value_falling": {"enabled": False}}
    chosen = policy(rules=chosen_rules(when), signs=off)
    assert why(second, chosen, state) == ("raised" if holds else "below")


def test_without_a_standing_a_condition_that_asks_for_it_does_not_hold() -> None:
    chosen = policy(rules=chosen_rules({"grades": ["vip"]}))
    assert why(assessed(1, 0, "low", standing=VIP), chosen) == "raised"
    assert why(assessed(1, 0, "low"), chosen) == "no_sign"


def test_a_rule_may_ignore() -> None:
    chosen = policy(rules=[{"name": "r", "when": {"bands": ["high"]}, "then": "ignore"}])
    assert why(assessed(1, 0), chosen) == "ignored"
    assert why(assessed(1, 0, "critical"), chosen) == "raised"


def test_at_most_so_many_tasks_within_a_period() -> None:
    chosen = policy(tasks_max=2, tasks_period_days=50, cooldown_days=0)
    state, words = NEW, []
    for n in range(7):
        band = "high" if n % 2 == 0 else "low"
        message = assessed(n, n * 10.0, band, last_purchase_at=day(n * 10 - 1))
        decision = decide(state, message, chosen)
        state = decision.state
        words.append(decision.why)
    assert words == ["raised", "no_sign", "raised", "no_sign", "limit", "no_sign", "raised"]


def test_what_joins_is_no_further_task() -> None:
    chosen = policy(tasks_max=1, tasks_period_days=50)
    first = decide(NEW, assessed(1, 0), chosen)
    both = assessed(2, 1, signs=[sign("silence_beyond_rhythm"), sign("complaint_open")])
    assert why(both, chosen, first.state) == "joined"


def test_the_held_out_get_no_task_and_are_decided_about_as_if_they_had() -> None:
    chosen = policy(holdout={"share": 0.5})
    held = next(f"c-{n}" for n in range(50) if drawn("default", f"c-{n}", 0.5))
    message = assessed(1, 0, customer_id=held)
    decision = decide(CustomerState(held), message, chosen)
    (step,) = decision.steps
    assert isinstance(step, HeldOutTask)
    assert (decision.why, decision.state.open) == ("held_out", ())
    assert decision.state.warned == (WarnedCause("silence_beyond_rhythm", day(0)),)
    again = decide(decision.state, assessed(2, 40, customer_id=held), chosen)
    assert again.why == "not_armed"
    made = new_trial(step, message, Profile(), TaskInputs(chosen, 3, day(0)))
    assert (made.arm, made.eligible, made.until) == ("held_out", True, day(28))
    vip = assessed(1, 0, customer_id=held, standing=VIP)
    assert decide(CustomerState(held), vip, chosen).why == "raised"


def test_raising_the_share_keeps_those_who_were_held_out() -> None:
    few = {n for n in range(2_000) if drawn("p", str(n), 0.1)}
    many = {n for n in range(2_000) if drawn("p", str(n), 0.3)}
    assert few < many
    assert 150 < len(few) < 250


def test_a_playbook_is_chosen_by_grade_cause_and_lifecycle() -> None:
    """Checks R4."""
    chosen = policy(
        playbooks=[
            {"id": "a", "grades": ["vip"], "causes": ["complaint_open"]},
            {"id": "b", "grades": ["vip"], "lifecycles": ["mature"]},
            {"id": "c", "tiers": ["low"], "service": "self_service"},
            {"id": "e", "causes": ["churned"], "leaving_causes": ["price"]},
            {"id": "d"},
        ]
    )
    assert choose(chosen, None, "churned", "price").id == "e"
    assert choose(chosen, None, "churned", "service").id == "d"
    assert choose(chosen, None, "churned").id == "d"
    assert choose(chosen, VIP, "complaint_open").id == "a"
    assert choose(chosen, VIP, "silence_beyond_rhythm").id == "b"
    assert choose(chosen, Classification(tier="low"), "x").id == "c"
    assert choose(chosen, None, "x").id == "d"
    assert choose(policy(), None, "x").id == "any"


def test_the_channel_is_the_preferred_one_that_consent_allows() -> None:
    """Checks R14."""
    customer = Wishes(Profile(consent={"phone": False, "email": True}))
    assert allowed(["phone", "wecom"], customer, []) == "wecom"
    assert allowed(["phone", "wecom", "email"], customer, ["wecom"]) == "email"
    assert allowed(["phone"], customer, []) is None
    assert allowed(["wecom"], Wishes(Profile(do_not_contact=True)), []) is None


def raised(inputs: TaskInputs, profile: Profile, at: float = 0.0, **changes: Any) -> Any:
    message = assessed(1, at, **changes)
    (step,) = decide(NEW, message, inputs.policy).steps
    assert isinstance(step, Raised)
    return new_task(step, message, Wishes(profile), inputs)


def test_vip_tasks_come_first_and_have_shorter_response_targets() -> None:
    """Checks R13."""
    chosen = policy(
        playbooks=[{"id": "v", "grades": ["vip"], "response_hours": 4, "due_working_days": 1},
                   {"id": "r", "response_hours": 48}]
    )  # fmt: skip
    inputs = TaskInputs(chosen, 1, day(0))
    vip = raised(inputs, Profile(owner=Owner(id="o")), standing=VIP)
    other = raised(inputs, Profile(owner=Owner(id="o")), standing=Classification(grade="regular"))
    assert vip.grade_rank < other.grade_rank
    assert vip.respond_by < other.respond_by
    assert vip.due_at < other.due_at


def test_queues_by_service_level() -> None:
    """R4: high value has a named owner, mid value a fast-response queue, low value self-service."""
    for service, owner, queue in (
        ("named_owner", Owner(id="o"), "owner"),
        ("named_owner", None, "unowned"),
        ("fast_response", Owner(id="o"), "fast_response"),
        ("self_service", None, "self_service"),
    ):
        inputs = TaskInputs(policy(playbooks=[{"id": "p", "service": service}]), 1, day(0))
        assert raised(inputs, Profile(owner=owner)).queue == queue


def test_worth_is_risk_times_value_times_the_measured_or_assumed_save_rate() -> None:
    chosen = policy(playbooks=[{"id": "p", "save_rate": 0.2}])
    assert raised(TaskInputs(chosen, 1, day(0)), Profile()).worth == pytest.approx(60 * 0.2)
    measured = TaskInputs(chosen, 1, day(0), save_rates={"p": 0.05})
    assert raised(measured, Profile()).worth == pytest.approx(60 * 0.05)


FRIDAY = datetime(2017, 10, 6, 21, tzinfo=UTC)
NIGHT = Hours(quiet_from="20:00", quiet_until="08:00", time_zone="Asia/Shanghai")


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        ("UTC", FRIDAY, FRIDAY + timedelta(days=2, hours=11)),
        ("UTC", FRIDAY - timedelta(hours=6), FRIDAY - timedelta(hours=6)),
        ("UTC", FRIDAY - timedelta(hours=14), FRIDAY - timedelta(hours=13)),
        # 21:00 UTC on Friday is Saturday, 05:00, in Shanghai: Monday 08:00 there is 00:00 UTC.
        ("Asia/Shanghai", FRIDAY, FRIDAY + timedelta(days=2, hours=3)),
    ],
)
def test_quiet_hours_are_the_owners(zone: str, at: datetime, expected: datetime) -> None:
    assert WorkingCalendar(NIGHT, ZoneInfo(zone)).may_disturb_at(at) == expected


def test_holidays_are_no_working_days() -> None:
    hours = Hours(holidays=[(FRIDAY + timedelta(days=3)).date()])
    due = WorkingCalendar(hours).due_at(FRIDAY, 1)
    assert due == FRIDAY + timedelta(days=4)


def test_a_task_of_the_night_waits_for_the_morning() -> None:
    night = {"quiet_from": "20:00", "quiet_until": "10:00"}
    inputs = TaskInputs(policy(hours=night), 1, day(0))
    task = raised(inputs, Profile(owner=Owner(id="o")))
    assert (task.waiting, task.tell_at) == ("quiet", day(0) + timedelta(hours=1))
