"""Messages to customers on a real database, with a provider that a test sets."""

from datetime import timedelta

import msgspec
import pytest

from services.alerts.core.policy_document import Policy
from services.alerts.store.policies import Policies
from shared.contracts import events
from shared.contracts.activity import ActivityData
from shared.contracts.customer_message import Reported
from shared.contracts.events import Owner, Profile
from shared.kernel.errors import Invalid
from shared.postgres.engine import unit_of_work
from tests.integration.alerts.harness import AlertsHarness, rows, running, until
from tests.integration.alerts.message_parts import (
    MESSAGES,
    WILLING,
    event,
    profile,
    sending_policy,
    sent,
    take_result,
)
from tests.integration.alerts.receiver import Receiver, reply
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack


async def test_a_message_goes_out_once_and_its_result_comes_back(
    mailing: AlertsHarness, receiver: Receiver
) -> None:
    await mailing.read_activity(
        profile(WILLING, day(-50)),
        profile(msgspec.structs.replace(WILLING, region="x"), day(-9)),
    )
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    await mailing.send_messages(day(0))
    async with running(await mailing.sender()):
        (request,) = await receiver.got(1)
        await until(mailing.engine, "SELECT status FROM alerts.delivery", ("delivered",))
    message = sent(request)
    assert message["text"] == "期待您再次光临"
    assert message["subject"] == "想念您"
    assert message["consented_at"] == "2017-08-13T09:00:00Z", "since the first of the profiles"
    assert message["deliver_until"] == "2017-10-02T20:00:00Z"
    taking = take_result(mailing.engine, mailing.clock)
    assert await taking("other", Reported(message_id=message["id"], result="accepted")) is None
    for word, stored in (("accepted", "accepted"), ("bounced", "bounced"), ("accepted", "bounced")):
        done = await taking("mailer", Reported(message_id=message["id"], result=word))  # type: ignore[arg-type]
        assert done is not None
        assert done.outcome == stored
    history = await rows(mailing.engine, "SELECT kind FROM alerts.task_event ORDER BY number")
    assert history == [("message_handed",), ("message_result",), ("message_result",)]


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Profile(consent={"email": False}), "no_consent"),
        (Profile(consent={"sms": True}), "no_consent"),
        (Profile(), "no_consent"),
    ],
)
async def test_no_consent_no_message(mailing: AlertsHarness, seen: Profile, reason: str) -> None:
    await mailing.read_activity(profile(WILLING, day(-50)), profile(seen, day(-1)))
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    assert await rows(mailing.engine, MESSAGES) == [("suppressed", reason)]
    assert await rows(mailing.engine, "SELECT * FROM alerts.delivery") == []


async def test_held_out_customers_are_left_alone_whatever_the_cause(mailing: AlertsHarness) -> None:
    """A held-out customer's task by a segment exists, and no message does."""
    mailing.policy = sending_policy(holdout={"share": 0.5})
    names = [f"c-{n}" for n in range(40)]
    await mailing.read_activity(*(profile(WILLING, day(-9), subject=name) for name in names))
    await mailing.read_risk(*(assessed(1, 0, customer_id=name) for name in names))
    held = await rows(mailing.engine, "SELECT customer_id FROM alerts.trial WHERE arm = 'held_out'")
    assert 10 < len(held) < 30
    async with unit_of_work(mailing.engine) as work:
        for (name,) in held:  # tasks as a segment would raise them
            await work.driver.execute(
                "INSERT INTO alerts.task SELECT (json_populate_record(t, "
                "json_build_object('customer_id', $1::text, 'id', 'rt_' || $1))).* "
                "FROM alerts.task t LIMIT 1", name)  # fmt: skip
            await work.driver.execute(
                "INSERT INTO alerts.customer_message (customer_id, id, task_id, playbook, "
                "caused_at, due_at) VALUES ($1, 'cm_' || $1, 'rt_' || $1, 'reminder', $2, $2)",
                name, day(0))  # fmt: skip
    await mailing.send_messages(day(0))
    counts = "SELECT status, reason, count(*) FROM alerts.customer_message GROUP BY 1, 2 ORDER BY 1"
    assert await rows(mailing.engine, counts) == [
        ("handed", None, 40 - len(held)), ("suppressed", "held_out", len(held))
    ]  # fmt: skip


async def test_quiet_hours_end_by_the_customers_clock(mailing: AlertsHarness) -> None:
    """Nine in the morning UTC is three at night in Chicago in October, less an hour."""
    there = msgspec.structs.replace(WILLING, time_zone="America/Chicago")
    await mailing.read_activity(profile(there, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    due = await rows(mailing.engine, "SELECT status, due_at FROM alerts.customer_message")
    assert due == [("waiting", day(0).replace(hour=14))]
    await mailing.send_messages(day(0).replace(hour=13, minute=59))
    assert await rows(mailing.engine, MESSAGES) == [("waiting", None)]
    await mailing.send_messages(day(0).replace(hour=14))
    assert await rows(mailing.engine, MESSAGES) == [("handed", None)]


async def test_the_owners_clock_where_the_customer_has_none(mailing: AlertsHarness) -> None:
    odd = msgspec.structs.replace(WILLING, time_zone="somewhere", owner=Owner(id="o-1"))
    await mailing.read_activity(profile(odd, day(-50)))
    async with unit_of_work(mailing.engine) as work:
        await work.driver.execute(
            "INSERT INTO alerts.owner (id, time_zone, updated_at, updated_by) "
            "VALUES ('o-1', 'Asia/Tokyo', now(), 'test')"
        )
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0).replace(hour=12))  # nine in the evening in Tokyo
    assert await rows(mailing.engine, MESSAGES) == [("waiting", None)]


async def test_the_customer_came_back_before_the_message(mailing: AlertsHarness) -> None:
    await mailing.read_activity(profile(WILLING, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    bought = event(events.PURCHASE, ActivityData(amount=1.0), day(0.01), "buy")
    await mailing.read_activity(bought)
    await mailing.send_messages(day(0.02))
    assert await rows(mailing.engine, MESSAGES) == [("suppressed", "task_closed")]


async def test_a_retry_does_not_ring_at_night(mailing: AlertsHarness, receiver: Receiver) -> None:
    """The attempt after the begin of the quiet hours waits; the morning's has the same id."""
    receiver.answers = [reply(503)]
    evening = day(0).replace(hour=19, minute=59, second=59)
    await mailing.read_activity(profile(WILLING, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(evening)
    async with running(await mailing.sender()):
        await receiver.got(1)
        await until(mailing.engine, "SELECT attempts FROM alerts.delivery", (1,))
    mailing.clock.at = evening + timedelta(minutes=1)
    async with running(await mailing.sender()):
        await until(mailing.engine, "SELECT status FROM alerts.delivery", ("failed",))
    assert await rows(mailing.engine, MESSAGES) == [("waiting", None)]
    await mailing.send_messages(day(1))
    async with running(await mailing.sender()):
        first, again = await receiver.got(2)
        await until(mailing.engine, "SELECT status FROM alerts.delivery", ("delivered",))
    assert sent(first)["id"] == sent(again)["id"]
    assert sent(again)["deliver_until"] == "2017-10-03T20:00:00Z"


async def test_one_of_two_messages_at_once_is_over_the_cap(mailing: AlertsHarness) -> None:
    """Both are decided in one batch, and only one is within the cap."""
    mailing.policy = sending_policy(messages_max=1)
    await mailing.read_activity(profile(WILLING, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    async with unit_of_work(mailing.engine) as work:
        await work.driver.execute(
            "INSERT INTO alerts.task SELECT (json_populate_record(t, "
            '\'{"id": "rt_2", "cause": "segment:s"}\')).* FROM alerts.task t'
        )
        await work.driver.execute(
            "INSERT INTO alerts.customer_message (customer_id, id, task_id, playbook, caused_at, "
            "due_at) VALUES ('c-1', 'cm_2', 'rt_2', 'reminder', $1, $1)", day(0))  # fmt: skip
    await mailing.send_messages(day(0))
    assert await rows(mailing.engine, MESSAGES) == [("handed", None), ("suppressed", "cap")]


async def test_a_policy_names_only_providers_that_exist(mailing: AlertsHarness) -> None:
    async with unit_of_work(mailing.engine) as work:
        made = await Policies().put(work, sending_policy(), "ann", day(0))
        assert made.version == 1
        with pytest.raises(Invalid) as wrong:
            await Policies().put(work, sending_policy(endpoint="nowhere"), "ann", day(0))
    assert wrong.value.field == "policy.playbooks.reminder.send.endpoint"
    assert "customer_message.send" in wrong.value.reason


async def test_switching_a_playbook_off_stops_what_waits(mailing: AlertsHarness) -> None:
    await mailing.read_activity(profile(WILLING, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    mailing.policy = Policy()
    await mailing.send_messages(day(0))
    assert await rows(mailing.engine, MESSAGES) == [("suppressed", "switched_off")]
