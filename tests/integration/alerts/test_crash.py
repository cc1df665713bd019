"""Crashes and stops of the real service lose nothing and repeat nothing."""

import asyncio
import signal

import pytest

from shared.kafka.producer import Producer
from tests.integration.alerts.receiver import Receiver, hang
from tests.integration.alerts.running import ServiceEnvironment, alerts
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

SHORT_LEASE = {
    "EBBWATCH_ALERTS_DELIVERY_TIMEOUT_S": "1",
    "EBBWATCH_ALERTS_DELIVERY_LEASE_S": "6",
}


def restarted(place: ServiceEnvironment, number: int) -> dict[str, str]:
    """Return settings with a consumer group of its own.

    The offsets are in the ledger, so a restart need not wait until the group notices that a killed
    member is gone.
    """
    return {"EBBWATCH_ALERTS_GROUP": f"alerts-{place.mark}-{number}", **SHORT_LEASE}


DRAIN_S = 10.0
"""The longest time that a service may take to end after SIGTERM."""


async def test_killed_between_sending_and_settling(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """The receiver has the message, its answer is unknown: it is sent again under the same id."""
    receiver.answers = [hang]
    async with alerts(place, **SHORT_LEASE) as service:
        await upstream.send([place.risk(assessed(1, 0))])
        await receiver.got(1)
        await service.stop(signal.SIGKILL)
    async with alerts(place, **restarted(place, 1)):
        first, second = await receiver.got(2)
        await place.until("SELECT status FROM alerts.delivery", "delivered")
    assert first.id == second.id
    assert first.body == second.body
    assert first.task["id"] == second.task["id"]
    assert len(await place.rows("SELECT 1 FROM alerts.task")) == 1


async def test_killed_while_reading(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """The service is killed repeatedly while assessments and purchases stream in.

    Every customer has one task, closed where the customer bought, and every change is sent exactly
    once per id.
    """
    customers = [f"c-{n}" for n in range(300)]
    async with asyncio.TaskGroup() as group:
        group.create_task(_stream(place, upstream, customers))
        for number in range(3):
            seen = len(receiver.requests)
            settings = {"EBBWATCH_ALERTS_RISK_BATCH_RECORDS_MAX": "10", **restarted(place, number)}
            async with alerts(place, **settings) as service:
                await receiver.got(min(seen + 20, 450))
                await service.stop(signal.SIGKILL)
    async with alerts(place, **restarted(place, 3)):
        await place.consumed()
        await place.until("SELECT count(*) FROM alerts.delivery WHERE status <> 'delivered'", 0)
    states = await place.rows("SELECT customer_id, status FROM alerts.task")
    assert sorted(row["customer_id"] for row in states) == sorted(customers)
    closed = {row["customer_id"] for row in states if row["status"] == "closed"}
    assert closed == set(customers[::2])
    assert len({r.id for r in receiver.requests}) == 300 + 150
    reported = {(r.task["id"], r.task["version"]) for r in receiver.requests}
    assert len(reported) == 300 + 150
    published = {(t.kind, t.task_id) for t in await place.treatments(450)}
    assert len(published) == 450


async def _stream(place: ServiceEnvironment, upstream: Producer, customers: list[str]) -> None:
    for number, customer in enumerate(customers):
        records = [place.risk(assessed(1, 0, customer_id=customer))]
        if number % 2 == 0:
            records.append(place.purchase(customer, day(1)))
        await upstream.send(records)


async def test_sigterm_ends_in_time_and_gives_deliveries_back(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """A receiver that does not answer does not delay the end; its delivery is given back."""
    receiver.otherwise = hang
    async with alerts(place, EBBWATCH_ALERTS_DELIVERY_CONCURRENCY_MAX="2") as service:
        await upstream.send([place.risk(assessed(1, 0, customer_id=f"c-{n}")) for n in range(6)])
        await place.consumed()
        await receiver.got(2)
        assert await service.stop(signal.SIGTERM, DRAIN_S) == 0
    left = await place.rows("SELECT status, token, next_at <= now() AS due FROM alerts.delivery")
    assert [(row["status"], row["token"], row["due"]) for row in left] == [
        ("pending", None, True)
    ] * 6


@pytest.mark.usefixtures("apache_kafka")  # the embedded one's groups may stall when members go
async def test_two_replicas_share_the_work(
    place: ServiceEnvironment, upstream: Producer, receiver: Receiver
) -> None:
    """Each delivery is sent by one of the two; all are sent when one of them ends."""
    customers = [f"c-{n}" for n in range(100)]
    async with alerts(place) as one, alerts(place):
        await upstream.send([place.risk(assessed(1, 0, customer_id=c)) for c in customers[:50]])
        await receiver.got(50)
        assert await one.stop() == 0
        await upstream.send([place.risk(assessed(1, 0, customer_id=c)) for c in customers[50:]])
        await receiver.got(100)
        await place.until("SELECT count(*) FROM alerts.delivery WHERE status = 'delivered'", 100)
    assert len({r.id for r in receiver.requests}) == len(receiver.requests) == 100
