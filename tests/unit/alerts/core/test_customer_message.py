"""When a message to a customer is sent, waits or is suppressed, and what the provider receives."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.alerts.core.customer_message import (
    STALE_AFTER,
    Circumstances,
    Send,
    Subscription,
    Suppress,
    Wait,
    body,
    decide,
    message_id,
    outcome_after,
    unsubscribed,
)
from services.alerts.core.message_rule import MessageRule
from services.alerts.core.policy_document import plain, read
from services.alerts.core.policy_parts import Both
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE
from shared.contracts.customer_message import MessageRequest
from shared.contracts.events import Profile
from shared.kernel.errors import Invalid
from tests.unit.alerts.samples import day, raised_task

TEXT = Both(en="We miss you", zh="期待您再次光临")
RULE = MessageRule(endpoint="mailer", channel="email", text=TEXT, messages_max=2, per_days=30)
SEEN = Circumstances(
    caused_at=day(0),
    task_open=True,
    do_not_contact=False,
    held_out=False,
    consented_at=day(-100),
    zone=ZoneInfo("UTC"),
)


def at(day_of_march: int, hour: float) -> datetime:
    """Return a time in March 2026, UTC."""
    return datetime(2026, 3, day_of_march, tzinfo=UTC) + timedelta(hours=hour)


AWAY = Subscription("email", day(-1), None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task_open": False}, "task_closed"),
        ({"do_not_contact": True}, "do_not_contact"),
        ({"subscriptions": [AWAY]}, "unsubscribed"),
        ({"consented_at": None}, "no_consent"),
        ({"held_out": True}, "held_out"),
        ({"caused_at": day(0) - STALE_AFTER - timedelta(seconds=1)}, "stale"),
        ({"earlier": [day(-29), day(-1)]}, "cap"),
        ({"endpoint_takes": False}, "no_endpoint"),
    ],
)
def test_each_reason_alone_keeps_a_message_back(change: dict[str, Any], reason: str) -> None:
    assert decide(RULE, SEEN, day(0)) == Send(day(0).replace(hour=20))
    assert decide(RULE, replace(SEEN, **change), day(0)) == Suppress(reason)  # type: ignore[arg-type]


def test_a_playbook_that_sends_no_more() -> None:
    assert decide(None, SEEN, day(0)) == Suppress("switched_off")


def test_the_cap_rolls() -> None:
    """Messages older than the days of the rule do not count."""
    seen = replace(SEEN, earlier=[day(-30), day(-31), day(-1)])
    assert isinstance(decide(RULE, seen, day(0)), Send)


@pytest.mark.parametrize(
    ("zone", "now", "until"),
    [
        ("UTC", at(2, 21), at(3, 9)),
        ("UTC", at(2, 8.5), at(2, 9)),
        # Saturday evening in Shanghai: a weekend is no quiet time.
        ("Asia/Shanghai", at(7, 12), at(8, 1)),
        # The night in which Berlin's clocks go forward.
        ("Europe/Berlin", at(28, 20), at(29, 7)),
    ],
)
def test_quiet_hours_are_the_customers(zone: str, now: datetime, until: datetime) -> None:
    seen = replace(SEEN, zone=ZoneInfo(zone), caused_at=now)
    assert decide(RULE, seen, now) == Wait(until)
    assert isinstance(decide(RULE, seen, until), Send)


def test_a_consent_of_the_future_is_waited_for() -> None:
    """In a replay, events may be later than the newest tick."""
    assert decide(RULE, replace(SEEN, consented_at=day(1)), day(0)) == Wait(day(1))


@pytest.mark.parametrize(
    ("found", "away"),
    [
        ([], False),
        ([Subscription("sms", day(0), None)], False),
        ([Subscription("*", day(0), None)], True),
        ([Subscription("email", day(0), day(1))], False),
        ([Subscription("email", day(1), day(0))], True),
        ([Subscription("email", day(0), day(0))], True),
        ([Subscription("*", day(0), None), Subscription("email", None, day(1))], False),
        ([Subscription("*", day(2), None), Subscription("email", None, day(1))], True),
        # Another id of the customer returned, or refused: each decides for all.
        (
            [Subscription("email", day(0), None, "a"), Subscription("email", None, day(1), "b")],
            True,
        ),
        (
            [Subscription("email", day(0), day(1), "a"), Subscription("sms", day(2), None, "b")],
            False,
        ),
    ],
)
def test_the_newest_wish_about_a_channel_counts(found: list[Subscription], away: bool) -> None:
    assert unsubscribed(found, "Email") is away


def test_the_provider_reads_the_customers_language() -> None:
    task = raised_task(Profile(name="王芳", language="zh-CN"))
    raw = body(task, RULE, day(-100), day(1), day(0))
    message = msgspec.json.decode(raw, type=MessageRequest).data["message"]
    assert (message.id, message.channel) == (message_id(task.id), "email")
    assert (message.text, message.language) == ("期待您再次光临", "zh-CN")
    assert (message.customer.id, message.customer.name) == ("c-1", "王芳")
    english = body(raised_task(Profile()), RULE, day(-100), day(1), day(0))
    assert b"We miss you" in english


def test_reports_in_any_order_leave_the_gravest() -> None:
    assert outcome_after("unsubscribed", "accepted") == "unsubscribed"
    assert outcome_after("accepted", "bounced") == "bounced"
    assert outcome_after(None, "accepted") == "accepted"


def sending(**changes: Any) -> dict[str, Any]:
    rule = {"endpoint": "mailer", "channel": "email", "text": {"en": "Hello", "zh-CN": "您好"}}
    book = {"id": "a", "service": "self_service", "send": rule | changes}
    return {"playbooks": [book]}


def test_nothing_is_sent_unless_a_policy_says_so() -> None:
    assert all(p.send is None for p in read_policy(POLICY_FILE).playbooks)
    policy = read(sending())
    assert read(plain(policy)) == policy
    rule = policy.playbooks[0].send
    assert rule is not None
    assert (rule.messages_max, rule.per_days, rule.quiet_from) == (2, 30, "20:00")


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (sending(messages_max=0), "messages_max"),
        (sending(per_days=366), "per_days"),
        (sending(quiet_from="25:00"), "quiet_from"),
        (sending(quiet_until="20:00"), "quiet_until"),
        (sending(channel="*"), "channel"),
        (sending(endpoint="Mailer!"), "endpoint"),
        (sending(text={"en": "only"}), "zh-CN"),
        (sending(surprise=1), "surprise"),
        ({"playbooks": [sending()["playbooks"][0] | {"service": "named_owner"}]}, "self_service"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(document: object, place: str) -> None:
    with pytest.raises(Invalid) as wrong:
        read(document)
    assert place in str(wrong.value)
