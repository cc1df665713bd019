"""A whole task as its owner reads it, in both languages."""

from pathlib import Path

import msgspec

from services.alerts.core.consent import Wishes
from services.alerts.core.playbook import choose, plan
from services.alerts.core.policy import Closed, CustomerState, OpenTask, Raised, decide
from services.alerts.core.task import Task, TaskInputs, close, new_task
from services.alerts.core.webhook_payload import body, payload_of
from services.alerts.core.wording.effect import CLAIMS, WORDS
from services.alerts.core.wording.tasks import close_text, in_full
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import Classification, Reason
from tests.unit.alerts.samples import SILENT, assessed, day

COMPLAINT = Reason(
    code="complaint_open", impact=2.0, facts={"complaints_open": 1.0, "days_since_complaint": 6.0}
)


def task(**more: object) -> Task:
    policy = read_policy(Path(POLICY_FILE))
    profile = Profile(name="Household 7", owner=Owner(id="o-1", name="Ann"),
                      consent={"phone": False})  # fmt: skip
    message = assessed(1, 0, reasons=[COMPLAINT, SILENT], **more)  # type: ignore[arg-type]
    (step,) = decide(CustomerState("c-1"), message, policy).steps
    assert isinstance(step, Raised)
    return new_task(step, message, Wishes(profile), TaskInputs(policy, 1, day(0)))


def test_the_whole_text_in_english() -> None:
    """R9, R13, R14: an action for the cause, by a channel with consent, first for a VIP."""
    vip = task(standing=Classification(grade="vip", tier="high"))
    assert in_full(vip, "en").splitlines() == [
        "Household 7 · VIP · high risk",
        "For Ann · due 2017-10-03 · respond by 2017-10-02 13:00 UTC",
        "60% likely to stay silent for 30 days, a lapse by the customer's own rhythm · 60.00 USD "
        "at risk",
        "  • 1 complaint not resolved, the latest news 6 days ago",
        "  • Buys every 9 days, now silent for 20 days",
        "Reach the customer by: visit",
        "  1. Call today, before anything is offered, and listen to what went wrong.",
        "  2. Settle the complaint with whoever can decide, and tell the customer by when.",
        "  3. Call again a week after it is settled.",
    ]


def test_the_whole_text_in_chinese() -> None:
    assert in_full(task(), "zh-CN").splitlines() == [
        "Household 7 · 高风险",
        "负责人：Ann · 截止 2017-10-05",
        "60% 的可能连续 30 天不购买（按该客户自身节奏即为流失）· 风险金额 60.00 USD",
        "  • 1 起投诉尚未解决，最近一次投诉动态在 6 天前",
        "  • 通常每 9 天购买一次，现已 20 天未购买",
        "联系方式：企业微信",
        "  1. 先解决投诉，并告知完成时间。",
        "  2. 一周后回访，确认问题是否解决。",
    ]


def test_a_playbook_may_offer_points() -> None:
    """The task's text and its payload carry the number; other tasks have none."""
    made = task()
    assert payload_of(made).offer_points is None
    plan = msgspec.structs.replace(made.plan, offer_points=1_200)
    with_points = msgspec.structs.replace(made, plan=plan)
    assert "Credit: 1,200 loyalty points" in in_full(with_points, "en")
    assert "可赠送：1,200 积分" in in_full(with_points, "zh-CN")
    assert msgspec.json.decode(body(with_points))["data"]["task"]["offer_points"] == 1_200
    assert "offer_points" not in msgspec.json.decode(body(made))["data"]["task"]


def test_points_are_answered_by_their_own_playbook() -> None:
    """With the points that the company allows; a customer of low value gets a message instead."""
    policy = read_policy(Path(POLICY_FILE))
    playbooks = [
        msgspec.structs.replace(p, offer_points=200) if p.id == "points_reminder" else p
        for p in policy.playbooks
    ]
    policy = msgspec.structs.replace(policy, playbooks=playbooks)
    chosen = choose(policy, Classification(grade="regular", tier="mid"), "points_expiring")
    assert (chosen.id, plan(chosen, policy, Wishes(Profile())).offer_points) == (
        "points_reminder",
        200,
    )
    low = choose(policy, Classification(grade="regular", tier="low"), "points_expiring")
    assert (low.id, low.service) == ("points_message", "self_service")
    fallen = choose(policy, Classification(grade="regular", tier="high"), "level_lowered")
    assert fallen.id == "keep_level"


def test_a_closed_task_has_its_reason() -> None:
    made = task()
    ended = Closed(OpenTask(made.id, made.cause, made.opened_at), day(2), "came_back")
    assert in_full(close(made, ended), "en").endswith(
        "Closed 2017-10-04: the customer bought again"
    )
    assert close_text("something_new", "en") == "something_new"


def test_no_channel_is_said() -> None:
    made = task()
    silent = msgspec.structs.replace(
        made, plan=msgspec.structs.replace(made.plan, channel=None, consent_missing=True)
    )
    assert "No channel: the customer has not agreed to any of them" in in_full(silent, "en")


def test_every_word_of_the_report_is_there_in_both_languages() -> None:
    assert all(en and zh and en != zh for en, zh in [*WORDS.values(), *CLAIMS.values()])


def test_a_silence_beyond_the_lapse_length_is_no_likelihood_any_more() -> None:
    gone = msgspec.structs.replace(task(), days_silent=31.0)
    assert "Silent for longer than 30 days" in in_full(gone, "en")
    assert "已连续超过 30 天未购买" in in_full(gone, "zh-CN")


def test_where_no_lapse_is_measured_the_horizon_speaks() -> None:
    plain = msgspec.structs.replace(task(), lapse_probability=None, lapse_days=None)
    assert "60% likely to buy nothing for 28 days" in in_full(plain, "en")
    assert "60% 的可能在 28 天内不再购买" in in_full(plain, "zh-CN")
