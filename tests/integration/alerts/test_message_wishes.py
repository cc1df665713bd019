"""Consent and unsubscriptions on a real database, in any order of arrival."""

import random
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from services.alerts.delivery.ports import Leased
from shared.contracts import events
from shared.contracts.activity import ActivityData
from shared.contracts.customer_message import SEND, Reported
from shared.contracts.events import Profile
from shared.kernel.errors import Invalid
from tests.integration.alerts.harness import AlertsHarness, rows, running, until
from tests.integration.alerts.message_parts import (
    MESSAGES,
    WILLING,
    customer_messages,
    event,
    interaction,
    profile,
    sending_policy,
    take_result,
)
from tests.integration.alerts.receiver import Receiver, reply
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

HANDED = "SELECT id, handed_at FROM alerts.customer_message WHERE handed_at IS NOT NULL"


async def test_an_unsubscription_of_history_counts(mailing: AlertsHarness) -> None:
    """It came in a backfill, without a channel, before the profile that states consent."""
    await mailing.read_activity(
        interaction("unsubscribed", None, day(-60), backfill="import-1"),
        profile(WILLING, day(-50)),
    )
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    assert await rows(mailing.engine, MESSAGES) == [("suppressed", "unsubscribed")]


async def test_a_later_return_ends_it_in_either_order_of_arrival(mailing: AlertsHarness) -> None:
    await mailing.read_activity(
        profile(WILLING, day(-50)),
        interaction("subscribed", "email", day(-10)),
        interaction("unsubscribed", " Email ", day(-60)),
    )
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    assert await rows(mailing.engine, MESSAGES) == [("handed", None)]


async def test_who_unsubscribes_while_the_provider_is_down(
    mailing: AlertsHarness, receiver: Receiver
) -> None:
    """The message is queued and tried once; then the wish arrives, and no attempt follows."""
    receiver.otherwise = reply(503)
    await mailing.read_activity(profile(WILLING, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    async with running(await mailing.sender()):
        await receiver.got(1)
        await until(mailing.engine, "SELECT attempts FROM alerts.delivery", (1,))
    await mailing.read_activity(interaction("unsubscribed", "email", day(0)))
    mailing.clock.at = day(0) + timedelta(minutes=1)
    async with running(await mailing.sender()):
        await until(mailing.engine, "SELECT status FROM alerts.delivery", ("failed",))
    assert len(receiver.requests) == 1
    assert await rows(mailing.engine, MESSAGES) == [("suppressed", "unsubscribed")]
    assert await rows(mailing.engine, "SELECT reason FROM alerts.delivery") == [
        ("suppressed: unsubscribed",)
    ]


async def test_a_complaint_unsubscribes_from_the_channel_for_good(mailing: AlertsHarness) -> None:
    """A later profile that states consent does not end it: its source may not know."""
    await mailing.read_activity(profile(WILLING, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    ((message,),) = await rows(mailing.engine, "SELECT id FROM alerts.customer_message")
    done = await take_result(mailing.engine, mailing.clock)(
        "mailer", Reported(message_id=message, result="complaint")
    )
    assert done is not None
    assert done.unsubscribed
    bought = event(events.PURCHASE, ActivityData(amount=1.0), day(1), "buy")
    await mailing.read_activity(bought, profile(WILLING, day(2)))
    await mailing.read_risk(assessed(2, 40.0, last_purchase_at=day(1)))
    await mailing.send_messages(day(40))
    assert await rows(mailing.engine, MESSAGES) == [
        ("handed", None),
        ("suppressed", "unsubscribed"),
    ]


async def test_a_report_must_name_a_message_or_who_unsubscribes(mailing: AlertsHarness) -> None:
    taking = take_result(mailing.engine, mailing.clock)
    with pytest.raises(Invalid, match="message_id"):
        await taking("mailer", Reported(customer_id="c-1", result="accepted"))
    with pytest.raises(Invalid, match="message_id"):
        await taking("mailer", Reported(result="unsubscribed"))
    assert await taking("crm", Reported(customer_id="c-1", result="unsubscribed")) is None
    done = await taking("mailer", Reported(customer_id="c-1", result="unsubscribed"))
    assert done is not None
    stored = "SELECT customer_id, channel, reported_by FROM alerts.subscription"
    assert await rows(mailing.engine, stored) == [("c-1", "*", "endpoint:mailer")]


async def test_erasing_withdraws_what_is_queued(mailing: AlertsHarness, receiver: Receiver) -> None:
    await mailing.read_activity(profile(WILLING, day(-50)))
    await mailing.read_risk(assessed(1, 0))
    await mailing.send_messages(day(0))
    await mailing.read_activity(interaction("unsubscribed", "sms", day(0)))
    ((message,),) = await rows(mailing.engine, "SELECT id FROM alerts.customer_message")
    await mailing.read_activity(event(events.ERASURE, ActivityData(), day(1), "r-1"))
    for table in ("customer_message", "consent", "subscription", "delivery", "customer"):
        assert await rows(mailing.engine, f"SELECT * FROM alerts.{table}") == [], table  # noqa: S608
    leased = Leased(
        customer_id="c-1", id=message, endpoint_id="mailer", task_id="rt", kind=SEND, body=b"",
        attempts=0, uncertain=False, remote_id=None, token=uuid4(), until=day(1), received_ms=0,
    )  # fmt: skip
    why = await customer_messages(mailing.engine, mailing.clock, mailing.policy).check_again(leased)
    assert why is not None
    assert "withdrawn" in why
    assert await rows(mailing.engine, "SELECT * FROM alerts.customer") == [], "no trace"


@pytest.mark.parametrize("seed", range(4))
async def test_consent_is_a_law_on_the_database_too(
    mailing: AlertsHarness, receiver: Receiver, seed: int
) -> None:
    """Random events, in batches out of order; each message handed over was lawful then."""
    chosen = random.Random(seed)  # noqa: S311 (a fixed seed)
    mailing.policy = sending_policy(messages_max=2, per_days=7)
    consent: list[tuple[datetime, bool]] = []
    wishes: list[tuple[datetime, bool]] = []
    at, revision, checked, bought_at = 0.0, 0, set[str](), day(-20)
    for _ in range(60):
        at += chosen.choice([0.05, 0.3, 1.1])
        now, number = day(at), chosen.random()
        if number < 0.3:
            agrees = chosen.random() < 0.7
            consent.append((now, agrees))
            await mailing.read_activity(profile(Profile(consent={"email": agrees}), now))
        elif number < 0.5:
            ended = chosen.random() < 0.5
            wishes.append((now, ended))
            word = "unsubscribed" if ended else "subscribed"
            channel = chosen.choice(["email", None])
            late = interaction(word, channel, now)
            early = interaction("subscribed", "email", day(-500))
            await mailing.read_activity(late, early)
        elif number < 0.7:
            bought_at = now
            await mailing.read_activity(
                event(events.PURCHASE, ActivityData(amount=1.0), now, f"buy{now.isoformat()}")
            )
        else:
            revision += 1
            await mailing.read_risk(assessed(revision, at, last_purchase_at=bought_at))
        await mailing.send_messages(now)
        handed = await rows(mailing.engine, HANDED)
        for name, when in handed:
            if name not in checked:
                checked.add(name)
                assert when == now
                assert consent
                assert consent[-1][1], "consent"
                assert not wishes or not wishes[-1][1], "unsubscribed"
                assert 9 <= when.hour < 20, "quiet hours"
                assert sum(when - timedelta(days=7) < other for _, other in handed) <= 2, "cap"
    queued = await rows(mailing.engine, "SELECT id FROM alerts.delivery")
    assert {name for (name,) in queued} == checked
    assert len(queued) == len(checked)
    assert checked or seed != 0, "the first seed sends some"


async def test_a_consent_withdrawn_and_given_again_is_a_new_one(mailing: AlertsHarness) -> None:
    """Whether the profiles come in one batch or in three."""
    agrees, refuses = WILLING, Profile(consent={"email": False})
    stored = "SELECT given_at FROM alerts.consent WHERE channel = 'email'"
    await mailing.read_activity(profile(agrees, day(-90)))
    await mailing.read_activity(profile(agrees, day(-80)))
    assert await rows(mailing.engine, stored) == [(day(-90),)]
    await mailing.read_activity(
        profile(refuses, day(-70)), profile(agrees, day(-60)), profile(agrees, day(-50))
    )
    assert await rows(mailing.engine, stored) == [(day(-60),)]
    await mailing.read_activity(profile(refuses, day(-40)))
    assert await rows(mailing.engine, stored) == []
    await mailing.read_activity(profile(agrees, day(-30)))
    assert await rows(mailing.engine, stored) == [(day(-30),)]
