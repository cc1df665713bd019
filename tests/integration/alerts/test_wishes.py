"""Wishes on a real database: what they end and change, their history, and the law over time."""

import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.consent import refusal
from services.alerts.core.policy_document import read
from services.alerts.delivery.core.endpoint import Endpoint, Route
from services.alerts.store import consents as consent_store
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.changes import CustomerChanged
from shared.contracts.customer_message import SEND, Reported
from shared.contracts.events import Profile
from shared.postgres.engine import unit_of_work
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.integration.alerts.message_parts import WILLING, event, interaction, profile, take_result
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

BOTH = {"en": "t", "zh-CN": "t"}
MAIL = {"endpoint": "mailer", "channel": "email", "text": BOTH, "messages_max": 100}
POLICY = read({
    "name": "test",
    "cooldown_days": 0,
    "holdout": {"share": 0.0},
    "consent_required": ["sms"],
    "playbooks": [
        {"id": "mail", "causes": ["none"], "service": "self_service", "channels": ["email"],
         "send": MAIL},
        {"id": "greet", "causes": ["none"], "channels": ["email", "phone"]},
        {"id": "talk", "channels": ["phone", "email", "sms"]},
    ],
    "care": [{"name": "birthday", "title": BOTH, "playbook": "greet", "birthday_days_before": 1}],
    "on_segment": [
        {"segment": "big", "title": BOTH, "playbook": "greet"},
        {"segment": "web", "title": BOTH, "playbook": "mail"},
    ],
})  # fmt: skip
KINDS = ("retention_task.opened", "retention_task.updated", "retention_task.closed", SEND)
WISHES = "SELECT about, said, source, late FROM alerts.wish ORDER BY seq"
TASKS = "SELECT cause, status, close_reason, plan ->> 'channel' FROM alerts.task ORDER BY opened_at"


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide two endpoints that take everything, and a policy of tasks of every kind."""
    like = Endpoint(id="any", route=Route(event_types=KINDS))
    urls = dict.fromkeys(("crm", "mailer"), "http://127.0.0.1:9/hook")
    async with AlertsHarness(engine, endpoints=urls, like=like, policy=POLICY) as made:
        made.clock.at = day(0)
        yield made


async def sent(bench: AlertsHarness, after: int = 0) -> list[tuple[int, str, str | None, str]]:
    """Return (number, kind, channel, status) of the messages that are queued after a number."""
    query = "SELECT seq, kind, convert_from(body, 'UTF8') FROM alerts.delivery "
    found = []
    for seq, kind, body in await rows(bench.engine, f"{query} WHERE seq > {after} ORDER BY seq"):
        data = msgspec.json.decode(body)["data"]
        one = data.get("task") or data["message"]
        found.append((seq, kind, one.get("channel"), one.get("status", "open")))
    return found


def entered(segment: str, number: int, at: float, *, left: bool = False) -> CustomerChanged:
    """Return an entry of c-1 into a segment, or its exit."""
    kind: Any = "segment_left" if left else "segment_entered"
    return CustomerChanged(
        customer_id="c-1", sequence=number, kind=kind, at=day(at), segment=segment
    )


async def test_a_withdrawn_channel_leaves_open_tasks_and_their_endpoints(
    bench: AlertsHarness,
) -> None:
    """The task is sent again with the next channel that is allowed, then with none."""
    await bench.read_risk(assessed(1, 0))
    await bench.read_activity(interaction("unsubscribed", "Phone", day(1)))
    await bench.read_activity(profile(Profile(consent={"email": False}), day(2)))
    await bench.read_activity(profile(Profile(consent={"sms": True}), day(3)))
    assert [(kind, channel) for _, kind, channel, _ in await sent(bench)][::2] == [
        ("retention_task.opened", "phone"),
        ("retention_task.updated", "email"),
        ("retention_task.updated", None),
        ("retention_task.updated", "email"),
    ]
    assert await rows(bench.engine, TASKS) == [("silence_beyond_rhythm", "open", None, "email")]


async def test_a_provider_who_reports_a_complaint_changes_the_task_too(
    bench: AlertsHarness,
) -> None:
    await bench.read_activity(profile(Profile(consent={"phone": False, "email": True}), day(-1)))
    await bench.read_risk(assessed(1, 0))
    reported = Reported(customer_id="c-1", channel="email", result="unsubscribed")
    await take_result(bench.engine, bench.clock)("mailer", reported)
    assert await rows(bench.engine, TASKS) == [("silence_beyond_rhythm", "open", None, None)]
    assert (await rows(bench.engine, WISHES))[-1] == (
        "email", "unsubscribed", "endpoint:mailer", False
    )  # fmt: skip


@pytest.mark.parametrize("by", ["profile", "interaction"])
async def test_who_refuses_profiling_has_no_tasks_until_they_allow_it(
    bench: AlertsHarness, by: str
) -> None:
    """Open tasks of all kinds end, nothing raises one; allowing it changes that back."""

    def said(refuses: bool, at: float) -> Activity:
        if by == "profile":
            return profile(Profile(birthday=BORN, no_profiling=refuses), day(at))
        return interaction("unsubscribed" if refuses else "subscribed", "profiling", day(at))

    await bench.read_activity(profile(Profile(birthday=BORN), day(-1)))
    await bench.read_risk(assessed(1, 0))
    await bench.read_changes(entered("big", 1, 0.1))
    await bench.take_care()(day(0.2))
    await bench.read_activity(said(True, 0.5))
    ended = await rows(bench.engine, "SELECT status, close_reason FROM alerts.task")
    assert ended == [("closed", "not_profiled")] * 3
    await bench.read_activity(profile(Profile(birthday=BORN), day(0.6)))  # without the field
    await bench.read_risk(assessed(2, 1))
    await bench.read_changes(entered("web", 2, 1.1))
    await bench.take_care()(day(1.2))
    assert len(await rows(bench.engine, TASKS)) == 3
    await bench.read_activity(said(False, 2))
    await bench.read_risk(assessed(3, 2.5, "low"), assessed(4, 3))
    assert (await rows(bench.engine, TASKS))[3:] == [
        ("silence_beyond_rhythm", "open", None, "phone")
    ]


BORN = date(1980, 10, 3)
"""A day after day 0."""


async def test_the_history_says_who_said_what_and_is_final(bench: AlertsHarness) -> None:
    """One row for each change, also of several in one batch; a late profile is marked as late."""
    await bench.read_activity(
        profile(Profile(consent={"Email": True, "sms": False}), day(0)),
        profile(Profile(consent={"email": True}, do_not_contact=True), day(2)),
    )
    await bench.read_activity(profile(WILLING, day(1), source="/shop"))
    await bench.read_activity(profile(WILLING, day(3)))
    await bench.read_activity(
        interaction("unsubscribed", None, day(4)), interaction("subscribed", "Email", day(5))
    )
    await bench.read_activity(profile(WILLING, day(3)))  # read again
    assert await rows(bench.engine, WISHES) == [
        ("email", "consent", "/t", False),
        ("sms", "refusal", "/t", False),
        ("sms", "no_statement", "/t", False),
        ("*", "do_not_contact", "/t", False),
        ("*", "may_contact", "/shop", True),
        ("*", "may_contact", "/t", False),
        ("*", "unsubscribed", "/t", False),
        ("email", "subscribed", "/t", False),
    ]
    with pytest.raises(DBAPIError, match="append-only"):
        async with bench.engine.begin() as connection:
            await connection.execute(sa.text("UPDATE alerts.wish SET said = 'consent'"))
    async with unit_of_work(bench.engine) as work:
        newest = await consent_store.history(work, "c-1", None, 2)
        older = await consent_store.history(work, "c-1", newest[-1]["seq"], 50)
    assert [row["said"] for row in newest] == ["subscribed", "unsubscribed"]
    assert len(older) == 6
    await bench.read_activity(event(events.ERASURE, ActivityData(), day(9), "r-1"))
    assert await rows(bench.engine, WISHES) == []


async def test_whatever_happens_nothing_is_queued_against_a_wish(bench: AlertsHarness) -> None:
    """Every path over a long history: assessments, segments, calendar, timers, messages, merges."""
    dice = random.Random(22)  # noqa: S311 (a fixed seed)
    channels = ("phone", "email", "sms")
    seen, revision, entries, named = 0, 0, 0, set()
    for step in range(250):
        at = step // 3 + step % 3 * 0.1  # in the morning: no quiet hours
        now, what = day(at), dice.randrange(9)
        bench.clock.at = now
        if what < 2:
            consent = {c: dice.random() < 0.5 for c in channels if dice.random() < 0.7}
            barred = dice.random() < 0.1
            said = Profile(
                birthday=now.date() + timedelta(days=1),
                consent=consent,
                do_not_contact=barred,
                no_profiling=dice.choice((None, False, None)),
            )
            await bench.read_activity(profile(said, now))  # fmt: skip
        elif what == 2:
            kind = dice.choice(("unsubscribed", "subscribed", "subscribed"))
            about = dice.choice((*channels, None, "profiling"))
            await bench.read_activity(interaction(kind, about, now))
        elif what == 3:
            revision += 1
            band = dice.choice(("low", "high"))
            await bench.read_risk(assessed(revision, at, band, last_purchase_at=day(at - 20)))
        elif what == 4:
            entries += 1
            segment, left = dice.choice(("big", "web")), dice.random() < 0.5
            await bench.read_changes(entered(segment, entries, at, left=left))
        elif what == 5:
            await bench.take_care()(now)
        elif what == 6:
            await bench.send_messages(now)
        elif what == 7:
            await bench.tend().iterate()
        else:
            bought = event(events.PURCHASE, ActivityData(amount=1.0), now, f"b{step}")
            await bench.read_activity(bought)
        async with unit_of_work(bench.engine) as work:
            wishes = (await consent_store.wishes(work, ["c-1"]))["c-1"]
        for seq, kind, channel, status in await sent(bench, seen):
            seen = max(seen, seq)
            if status == "open":
                named.add((kind, channel))
            if channel is not None and status == "open":
                asks = kind == SEND or channel == "sms"
                assert refusal(wishes, channel, asks=asks) is None, (step, kind, channel)
    # The history was one in which each path spoke, on each channel.
    assert {channel for _, channel in named} == {*channels, None}
    assert {kind for kind, _ in named} == {KINDS[0], KINDS[1], SEND}
