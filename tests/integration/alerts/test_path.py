"""The path of an assessment to the receiver, with the real service on Kafka and PostgreSQL."""

import httpx
import pytest
from standardwebhooks import Webhook

from shared.contracts.dead_letter import DeadLetter
from shared.contracts.events import Owner, Profile
from shared.kafka.producer import Producer, Record
from tests.integration.alerts.receiver import SECRET, Receiver
from tests.integration.alerts.running import ServiceEnvironment, alerts
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

ANN = Profile(name="Household 1", owner=Owner(id="o-1", name="Ann"), language="zh-CN")


async def test_from_assessment_to_signed_task_and_back(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """R27: a warned customer comes back; the recovery is recorded and sent."""
    async with alerts(place) as service:
        await upstream.send([place.profile("c-1", day(-9), ANN, backfill="import-1")])
        await place.consumed()
        await upstream.send([place.risk(assessed(1, 0))])
        (opened,) = await receiver.got(1)
        assert opened.task["owner"] == {"id": "o-1", "name": "Ann"}
        assert opened.task["reasons"][0]["text"] == "通常每 9 天购买一次，现已 20 天未购买"
        await upstream.send([place.purchase("c-1", day(2))])
        _, closed = await receiver.got(2)
        assert closed.type == "retention_task.closed"
        assert closed.task["id"] == opened.task["id"]
        assert closed.task["version"] == 2
        assert closed.task["close_reason"] == "came_back"
        reported = await place.treatments(2)
        assert [(t.kind, t.at, t.task_id) for t in reported] == [
            ("task_raised", day(0), opened.task["id"]),
            ("task_closed", day(2), opened.task["id"]),
        ]
        await place.until(
            "SELECT status FROM alerts.delivery ORDER BY seq", "delivered", "delivered"
        )
        cause = 'cause="silence_beyond_rhythm"'
        for line in (
            f"ebbwatch_alerts_tasks_raised_total{{{cause}}}",
            f'ebbwatch_alerts_tasks_closed_total{{{cause},reason="came_back"}}',
            "ebbwatch_alerts_task_latency_seconds_count",
            "ebbwatch_alerts_delivery_latency_seconds_count",
        ):
            assert await service.metric(line) == 1, line


async def test_duplicates_never_reach_a_second_task(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """Invariants 1 and 10: records are sent twice, and the whole topic is read again."""
    customers = [f"c-{n}" for n in range(20)]
    twice = [place.risk(assessed(1, 0, customer_id=c)) for c in customers] * 2
    async with alerts(place) as service:
        await upstream.send(twice)
        await receiver.got(20)
        await place.consumed()
        assert await service.stop() == 0
    for partition in range(2):
        await place.command("partitions", "resume", place.topic("risk"), str(partition))
    async with alerts(place):
        await upstream.send(twice)
        await place.consumed()
    assert (await place.rows("SELECT count(*) AS n FROM alerts.task"))[0]["n"] == 20
    assert len({r.id for r in receiver.requests}) == len(receiver.requests) == 20
    assert len(await place.read("treatment", 20)) == 20


async def test_a_backfill_opens_and_closes_nothing(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """Checks invariant 9."""
    async with alerts(place):
        await upstream.send([place.risk(assessed(1, 0))])
        await receiver.got(1)
        await upstream.send([place.purchase("c-1", day(5), backfill="import-1")])
        await place.consumed()
        await upstream.send([place.purchase("c-2", day(5))])
        await place.consumed()
    await place.until("SELECT status FROM alerts.task", "open")
    await place.until("SELECT customer_id FROM alerts.customer WHERE purchased_at = "
                      "'2017-10-07T09:00Z'", "c-2")  # fmt: skip


async def test_what_cannot_be_read_is_parked_and_delays_nothing(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """Checks invariant 7."""
    key = b"c-1"
    bad = [b"not json", b'{"customer_id": "c-1"}', b"\xff\xfe"]
    nul = place.risk(assessed(1, 0, customer_id="c-1", model_version="a\0b"))
    async with alerts(place):
        await upstream.send(
            [
                *(Record(place.topic("risk"), key, value, (("x", b"1"),)) for value in bad),
                nul,
                Record(place.topic("risk"), key, None),
                *(Record(place.topic("activity"), key, value) for value in bad),
                place.risk(assessed(2, 0)),
                place.purchase("c-1", day(1)),
            ]
        )
        await receiver.got(2)
        records = await place.read("dead-letter", 7)
    letters = [DeadLetter.from_record(r.key, r.value, tuple(r.headers)) for r in records]
    assert {letter.stage for letter in letters} == {"alerts"}
    risky = [letter for letter in letters if letter.origin.topic == place.topic("risk")]
    assert [letter.value for letter in risky] == [*bad, nul.value]
    assert risky[0].original_headers == (("x", b"1"),)
    assert risky[3].reason == "holds the character U+0000: leave it out"


async def test_a_customer_who_must_not_be_contacted(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    async with alerts(place):
        await upstream.send([place.risk(assessed(1, 0))])
        await receiver.got(1)
        silent = Profile(do_not_contact=True)
        await upstream.send(
            [place.profile("c-1", day(1), silent), place.profile("c-2", day(1), silent)]
        )
        _, closed = await receiver.got(2)
        assert closed.task["close_reason"] == "do_not_contact"
        await place.consumed()
        await upstream.send([place.risk(assessed(1, 2, customer_id="c-2"))])
        await place.consumed()
    assert len(await place.rows("SELECT 1 FROM alerts.task")) == 1


async def test_operators_see_tasks_and_deliveries(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    async with alerts(place):
        await upstream.send([place.risk(assessed(1, 0))])
        (first,) = await receiver.got(1)
        await place.until("SELECT status FROM alerts.delivery", "delivered")
        assert "now silent for 20 days" in await place.command("tasks", "list", "--status", "open")
        assert first.id in await place.command("deliveries", "list", "--status", "delivered")
        await place.command("deliveries", "resend", first.id)
        _, second = await receiver.got(2)
    assert second.id == first.id
    assert second.headers["webhook-signature"]
    Webhook(SECRET).verify(second.body, second.headers)
    assert "crm" in await place.command("endpoints", "list")


async def test_an_owners_verdict_reaches_the_treatment_topic(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """Checks R27."""
    token = (
        await place.command("tokens", "create", "--name", "t", "--scope", "tasks:write")
    ).strip()
    async with alerts(place) as service, httpx.AsyncClient() as client:
        await upstream.send([place.risk(assessed(1, 0))])
        (opened,) = await receiver.got(1)
        answer = await client.post(
            f"{service.url}/v1/tasks/{opened.task['id']}/close",
            json={"verdict": "leaving", "note": "moved to another town"},
            headers={"authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 200
        _, closed = await receiver.got(2)
        assert closed.task["close_reason"] == "verdict"
        reported = await place.treatments(3)
        assert sorted((t.kind, t.detail or "") for t in reported) == [
            ("task_closed", "verdict"),
            ("task_raised", ""),
            ("verdict", "leaving"),
        ]
