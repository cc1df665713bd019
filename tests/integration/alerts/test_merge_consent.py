"""Whichever id refuses, the customer has refused: consent follows a merge, and its undo."""

from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import read
from services.alerts.store import consents as consent_store
from services.alerts.store import feedback as feedback_store
from services.alerts.store.feedback import FeedbackFilter
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.changes import CustomerChanged
from shared.contracts.customer_message import Reported
from shared.contracts.events import Owner, Profile
from shared.postgres.engine import unit_of_work
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.integration.alerts.message_parts import (
    MESSAGES,
    WILLING,
    event,
    interaction,
    profile,
    sending_policy,
    take_result,
)
from tests.unit.alerts.samples import assessed, day

pytestmark = [pytest.mark.stack, pytest.mark.identity]

WEB, CARD = "mo-web", "mo-card"
REFUSES = msgspec.structs.replace(WILLING, do_not_contact=True)
TASKS = "SELECT customer_id, status, close_reason FROM alerts.task ORDER BY opened_at, customer_id"
MADE = (
    "SELECT customer_id, profile, profile_at, own IS NULL, part_of, warned, leaving_at "
    "FROM alerts.customer ORDER BY 1"
)


def merged(one: str = CARD, primary: str = WEB, **more: Any) -> CustomerChanged:
    """Build the message that an id is part of another customer."""
    return CustomerChanged(
        customer_id=one, sequence=0, kind="customer_merged", at=day(-2), primary_id=primary, **more
    )


def unmerged(one: str = CARD, primary: str = WEB) -> CustomerChanged:
    """Build the message that it is a customer of its own again."""
    return msgspec.structs.replace(merged(one, primary), kind="customer_unmerged")


def forwarded(of: Activity, to: str = WEB) -> tuple[Activity, Activity]:
    """Return an event as it comes, and as scoring forwards it to the customer."""
    return of, msgspec.structs.replace(of, subject=to, originalsubject=of.subject)


def warned(customer: str, revision: int = 1) -> Any:
    """Build an assessment that warns about a customer."""
    return assessed(revision, 0, customer_id=customer)


WISHES = [
    (profile(msgspec.structs.replace(WILLING, consent={"email": False}), day(-9)), "no_consent"),
    (interaction("unsubscribed", "email", day(-9)), "unsubscribed"),
    (interaction("unsubscribed", None, day(-9)), "unsubscribed"),
]


@pytest.mark.parametrize("refusing", [WEB, CARD])
@pytest.mark.parametrize(("wish", "reason"), WISHES)
async def test_a_message_needs_the_consent_of_all_ids(
    mailing: AlertsHarness, refusing: str, wish: Activity, reason: str
) -> None:
    """One id refuses before the merge: the customer gets no message; after the undo, the other."""
    wish = msgspec.structs.replace(wish, subject=refusing)
    willing = CARD if refusing == WEB else WEB
    await mailing.read_activity(*(profile(WILLING, day(-50), subject=id_) for id_ in (WEB, CARD)))
    await mailing.read_activity(wish)
    await mailing.read_changes(merged())
    await mailing.read_risk(warned(WEB))
    await mailing.send_messages(day(0))
    assert await rows(mailing.engine, MESSAGES) == [("suppressed", reason)]
    await mailing.read_changes(unmerged())
    await mailing.read_risk(*(warned(id_, 2) for id_ in (CARD, WEB) if id_ == willing))
    if willing == CARD:
        await mailing.send_messages(day(0))
        assert ("handed", None) in await rows(mailing.engine, MESSAGES)
    else:  # its only message was decided on while it was one customer
        async with unit_of_work(mailing.engine) as work:
            assert await consent_store.given(work, [WEB]) == {(WEB, "email"): day(-50)}
            assert await consent_store.subscriptions(work, [WEB]) == {}


@pytest.mark.parametrize(("wish", "reason"), WISHES)
async def test_a_refusal_while_one_customer(
    mailing: AlertsHarness, wish: Activity, reason: str
) -> None:
    """It comes with the other id, and again forwarded; a newer yes of the first is no return."""
    wish = msgspec.structs.replace(wish, subject=CARD)
    await mailing.read_activity(profile(WILLING, day(-50), subject=WEB))
    await mailing.read_changes(merged())
    await mailing.read_activity(*forwarded(wish))
    await mailing.read_activity(profile(WILLING, day(-5), subject=WEB))
    await mailing.read_risk(warned(WEB))
    await mailing.send_messages(day(0))
    assert await rows(mailing.engine, MESSAGES) == [("suppressed", reason)]


@pytest.mark.parametrize("refusing", [WEB, CARD])
async def test_do_not_contact_of_one_id_ends_all_tasks(
    mailing: AlertsHarness, refusing: str
) -> None:
    """At the merge, and for every warning and date after it, until the ids come apart."""
    willing = CARD if refusing == WEB else WEB
    await mailing.read_risk(warned(willing))
    await mailing.read_activity(profile(REFUSES, day(-9), subject=refusing))
    await mailing.read_changes(merged())
    assert await rows(mailing.engine, TASKS) == [(willing, "closed", "do_not_contact")]
    await mailing.read_activity(*forwarded(profile(WILLING, day(-1), subject=willing)))
    await mailing.read_risk(warned(WEB, 9))
    assert len(await rows(mailing.engine, TASKS)) == 1
    await mailing.read_changes(unmerged())
    await mailing.read_risk(
        assessed(20, 3, "low", customer_id=willing, reasons=[]),
        assessed(21, 90, customer_id=willing),
        assessed(21, 90, customer_id=refusing),
    )
    found = await rows(mailing.engine, TASKS)
    assert found[1:] == [(willing, "open", None)]


async def test_do_not_contact_while_one_customer(mailing: AlertsHarness) -> None:
    """The other id says so: the customer's open task closes. It takes it back: tasks return."""
    await mailing.read_changes(merged())
    await mailing.read_risk(warned(WEB))
    await mailing.read_activity(*forwarded(profile(REFUSES, day(1), subject=CARD)))
    assert await rows(mailing.engine, TASKS) == [(WEB, "closed", "do_not_contact")]
    await mailing.read_risk(assessed(8, 2, "low", customer_id=WEB, reasons=[]))
    await mailing.read_activity(*forwarded(profile(WILLING, day(3), subject=CARD)))
    await mailing.read_risk(assessed(9, 90, customer_id=WEB))
    assert [status for _, status, _ in await rows(mailing.engine, TASKS)] == ["closed", "open"]


async def test_dates_of_the_calendar_ask_all_ids(mailing: AlertsHarness) -> None:
    """A birthday of one id, "do not contact" of the other: no task; after the undo there is."""
    title = {"en": "Birthday", "zh-CN": "生日"}
    care = {"name": "b", "title": title, "playbook": "p", "birthday_days_before": 0}
    mailing.policy = read({"name": "t", "playbooks": [{"id": "p"}], "care": [care]})
    mailing.clock.at = day(0)
    born = msgspec.structs.replace(WILLING, birthday=day(0).date())
    await mailing.read_activity(profile(born, day(-9), subject=WEB))
    await mailing.read_activity(profile(REFUSES, day(-9), subject=CARD))
    await mailing.read_changes(merged())
    await mailing.take_care()(day(0))
    assert await rows(mailing.engine, TASKS) == []
    await mailing.read_changes(unmerged())
    await mailing.take_care()(day(0))
    assert await rows(mailing.engine, TASKS) == [(WEB, "open", None)]


async def test_one_profile_of_all_ids_and_each_its_own_again(engine: AsyncEngine) -> None:
    """Owner, name and language are those of the merged profile; the undo is the identity."""
    async with AlertsHarness(engine) as bench:
        owner = Owner(id="o-1")
        await bench.read_activity(
            profile(Profile(name="Mo", owner=owner), day(-50), subject=WEB),
            profile(Profile(name="Mo K.", language="zh-CN"), day(-40), subject=CARD),
        )
        await bench.read_risk(warned(CARD))
        before = await rows(engine, MADE)
        await bench.read_changes(merged())
        found = {row[0]: row[1] for row in await rows(engine, MADE)}[WEB]
        assert (found["name"], found["language"], found["owner"]["id"]) == ("Mo K.", "zh-CN", "o-1")
        await bench.read_changes(unmerged())
        assert await rows(engine, MADE) == before


async def test_a_contact_says_nothing_about_the_account(engine: AsyncEngine) -> None:
    """A contact's name and "do not contact" are the contact's."""
    async with AlertsHarness(engine) as bench:
        await bench.read_activity(profile(Profile(name="Acme"), day(-50), subject=WEB))
        await bench.read_changes(merged(contact=True))
        await bench.read_activity(*forwarded(profile(REFUSES, day(-1), subject=CARD)))
        await bench.read_risk(warned(WEB))
        names = await rows(engine, "SELECT profile ->> 'name' FROM alerts.customer ORDER BY 1")
        assert names == [("Acme",), ("Wang",)]
        assert await rows(engine, TASKS) == [(WEB, "open", None)]


async def test_feedback_is_listed_once_by_any_id(engine: AsyncEngine) -> None:
    """Before and while it is one customer; with the id that it came with, and its own after."""
    async with AlertsHarness(engine) as bench:
        data = ActivityData(kind="suggestion", text="more tea")
        await bench.read_activity(event(events.FEEDBACK, data, day(-9), "f-1", subject=CARD))
        await bench.read_changes(merged())
        said = event(events.FEEDBACK, data, day(-8), "f-2", subject=CARD)
        await bench.read_activity(*forwarded(said))
        await bench.read_activity(event(events.FEEDBACK, data, day(-7), "f-3", subject=WEB))

        async def listed(customer: str) -> list[tuple[str, str, str]]:
            async with unit_of_work(engine) as work:
                found = await feedback_store.page(
                    work, FeedbackFilter(customer_id=customer), None, 9
                )
            return [(row["event_id"], row["customer_id"], row["came_with"]) for row in found]

        want = [("f-3", WEB, WEB), ("f-2", WEB, CARD), ("f-1", WEB, CARD)]
        assert await listed(WEB) == await listed(CARD) == want
        await bench.read_changes(unmerged())
        assert await listed(WEB) == [("f-3", WEB, WEB)]
        assert await listed(CARD) == [("f-2", CARD, CARD), ("f-1", CARD, CARD)]


async def test_a_waiting_message_follows_its_task(mailing: AlertsHarness) -> None:
    """It is the customer's, who had one lately with the other id: the cap holds; and back."""
    mailing.policy = sending_policy(messages_max=1, per_days=30)
    await mailing.read_activity(*(profile(WILLING, day(-50), subject=i) for i in (WEB, CARD)))
    await mailing.read_risk(warned(WEB))
    await mailing.send_messages(day(0))
    await mailing.read_activity(
        event(events.PURCHASE, ActivityData(amount=1.0), day(0.5), "o-1", subject=WEB)
    )
    await mailing.read_risk(assessed(1, 1, customer_id=CARD))
    owner_of = "SELECT customer_id, status, reason FROM alerts.customer_message ORDER BY caused_at"
    await mailing.read_changes(merged())
    assert (await rows(mailing.engine, owner_of))[1] == (WEB, "waiting", None)
    await mailing.read_changes(unmerged())
    assert (await rows(mailing.engine, owner_of))[1] == (CARD, "waiting", None)
    await mailing.read_changes(merged())
    await mailing.send_messages(day(1))
    assert (await rows(mailing.engine, owner_of))[1] == (WEB, "suppressed", "cap")


async def test_an_unsubscription_by_the_provider_is_of_all_ids(mailing: AlertsHarness) -> None:
    """It is reported for the customer, by an old id, and outlives the undo for both."""
    await mailing.read_changes(merged())
    report = Reported(customer_id=CARD, result="unsubscribed", channel="email")
    done = await take_result(mailing.engine, mailing.clock)("mailer", report)
    assert done is not None
    assert done.unsubscribed
    await mailing.read_changes(unmerged())
    async with unit_of_work(mailing.engine) as work:
        found = await consent_store.subscriptions(work, [WEB, CARD])
    assert sorted(found) == [CARD, WEB]
