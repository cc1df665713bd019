"""Failure tests 01 and 02: a worker or an answer is lost on the way.

Nothing else is lost, and nothing is created twice where the receiving system can be queried.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import DELAYS_S, Answer
from services.alerts.delivery.ports import (
    Attempted,
    Leased,
)
from services.alerts.delivery.sender import DeliverySender, SenderBounds
from services.alerts.delivery.store.deliveries import Deliveries
from shared.postgres.engine import UnitOfWork
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.receiver import Receiver, hang
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

STATUS = "SELECT status, attempts FROM alerts.delivery ORDER BY seq"
DELIVERED = "SELECT count(*) FROM alerts.delivery WHERE status = 'delivered'"


@pytest.fixture
async def bench(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one endpoint."""
    async with AlertsHarness(engine, endpoints={"crm": receiver.url}) as made:
        yield made


def deliver(
    bench: AlertsHarness, connectors: object, deliveries: Deliveries | None = None
) -> DeliverySender:
    """Return a sender with a part that the test replaces."""
    return DeliverySender(
        bench.engine,
        deliveries=deliveries or Deliveries(),
        endpoints=bench.stored,
        connectors=connectors,  # type: ignore[arg-type]
        sending=SenderBounds(
            concurrency_max=4, timeout_s=5.0, margin_s=2.0, lease_s=60.0, poll_s=0.05,
            delays_s=DELAYS_S,
        ),
        clock=bench.clock,
        health=Health(bench.clock),
        deliveries_queued=asyncio.Event(),
    )  # fmt: skip


@dataclass
class Stuck:
    """A connector of the endpoint that hangs before it sends."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, _: Endpoint) -> "Stuck":
        return self

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        self.reached.set()
        await asyncio.Event().wait()
        raise AssertionError


class NeverSettles(Deliveries):
    """Deliveries that hang when there is something to settle."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def settle(self, work: UnitOfWork, attempts: Sequence[Attempted]) -> dict[str, str]:
        if not attempts:
            return {}
        self.reached.set()
        await asyncio.Event().wait()
        raise AssertionError


async def kill(loop: asyncio.Task[None]) -> None:
    """End a sender without its drain, together with the attempts under way."""
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    for task in asyncio.all_tasks():
        if task.get_name().startswith("msg_"):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("point", ["before the send", "after the send", "before the log"])
async def test_01_killed_anywhere_nothing_is_lost_and_the_id_stays(
    bench: AlertsHarness, receiver: Receiver, point: str
) -> None:
    await bench.read_risk(assessed(1, 0))
    stuck, unsettled = Stuck(), NeverSettles()
    connectors: object = await bench.connectors()
    if point == "before the send":
        sender, reached = deliver(bench, stuck), stuck.reached
    elif point == "after the send":
        receiver.answers = [hang]
        sender, reached = deliver(bench, connectors), asyncio.Event()
    else:
        sender, reached = deliver(bench, connectors, unsettled), unsettled.reached
    loop = asyncio.create_task(sender(Stop()))
    if point == "after the send":
        await receiver.got(1)
    else:
        await reached.wait()
    await kill(loop)
    assert await rows(bench.engine, STATUS) == [("pending", 0)]
    bench.clock.pass_by(timedelta(seconds=61))
    async with running(deliver(bench, connectors)):
        await until(bench.engine, STATUS, ("delivered", 1))
    assert len(receiver.requests) == (1 if point == "before the send" else 2)
    assert len({request.id for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1


@dataclass
class Crm:
    """A CRM that creates records but loses its answers; it can be queried by our key."""

    tasks: list[str] = field(default_factory=list)
    lost: int = 1
    finds: list[str] = field(default_factory=list)
    refreshed: int = 0
    token_ok: bool = True

    def of(self, _: Endpoint) -> "Crm":
        return self

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        if not self.token_ok:
            return Answer("refresh_token", 401, error="token ended")
        self.tasks.append(delivery.task_id)
        if self.lost:
            self.lost -= 1
            return Answer("ambiguous", error="reset", throttled=False)
        return Answer("ok", 201, remote_id=f"crm-{len(self.tasks)}")

    async def find(self, delivery: Leased, at: datetime) -> Answer | None:
        if not self.token_ok:
            return Answer("refresh_token", 401, error="token ended")
        self.finds.append(delivery.task_id)
        if delivery.task_id in self.tasks:
            return Answer("ok", 200, remote_id="crm-1")
        return None

    async def refresh(self, since: datetime) -> Answer | None:
        self.refreshed += 1
        self.token_ok = True
        return None

    async def close(self) -> None:
        """Do nothing."""


async def test_02_an_answer_lost_after_the_task_was_made_leaves_one_task_there(
    bench: AlertsHarness,
) -> None:
    crm = Crm()
    await bench.read_risk(assessed(1, 0))
    async with running(deliver(bench, crm)):
        await until(bench.engine, STATUS, ("pending", 1))
        crm.token_ok = False  # the query must survive an expired token too
        bench.clock.pass_by(timedelta(seconds=6))
        await until(bench.engine, STATUS, ("delivered", 2))
        await bench.read_risk(assessed(2, 5, "low", last_purchase_at=day(4)))
        await until(bench.engine, DELIVERED, (2,))
    assert len(crm.tasks) == 2, "opened once, closed once"
    assert len(crm.finds) == 1
    assert crm.refreshed == 1
    named = await rows(bench.engine, "SELECT remote_id FROM alerts.remote_task")
    assert named == [("crm-2",)]


async def test_02_what_is_not_there_is_made(bench: AlertsHarness) -> None:
    """The request itself was lost: the query finds no record, and the task is created."""
    crm = Crm()
    await bench.read_risk(assessed(1, 0))
    async with running(deliver(bench, crm)):
        await until(bench.engine, STATUS, ("pending", 1))
        crm.tasks.clear()
        bench.clock.pass_by(timedelta(seconds=6))
        await until(bench.engine, STATUS, ("delivered", 2))
    assert len(crm.tasks) == 1
