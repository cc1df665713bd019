"""A delivery that triggers a fault of ours is set aside with its reason; the others are sent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.ports import (
    ALONE_FROM,
    Attempted,
    Leased,
)
from services.alerts.delivery.quarantine import DEATHS_MAX, QUARANTINED
from services.alerts.delivery.sender import FAULTS_MAX
from services.alerts.delivery.store.deliveries import Deliveries
from shared.postgres.engine import UnitOfWork
from shared.runtime.service import Stop
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.test_delivery_lost import deliver, kill
from tests.unit.alerts.samples import assessed

pytestmark = pytest.mark.stack

STATUS = "SELECT customer_id, status, attempts FROM alerts.delivery ORDER BY customer_id"
GOOD = "SELECT count(*) FROM alerts.delivery WHERE customer_id <> 'bad' AND status = 'delivered'"
BAD = "SELECT status, attempts FROM alerts.delivery WHERE customer_id = 'bad'"


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one endpoint."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:1/"}) as made:
        yield made


async def raised(bench: AlertsHarness, *customers: str) -> None:
    """Queue a message about each customer."""
    messages = [msgspec.structs.replace(assessed(1, 0), customer_id=name) for name in customers]
    await bench.read_risk(*messages)


@dataclass
class Faulty:
    """A connector with a fault that one customer triggers."""

    fault: Exception | None = None
    sent: list[str] = field(default_factory=list)
    beside: int = 0
    at_once: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, _: Endpoint) -> "Faulty":
        return self

    async def send(self, delivery: Leased, at: datetime) -> Answer:
        self.at_once += 1
        try:
            if delivery.customer_id == "bad":
                if self.fault is not None:
                    raise self.fault
                self.beside = self.at_once
                self.reached.set()
                await asyncio.Event().wait()  # until the process is killed
            await asyncio.sleep(0)
            self.sent.append(delivery.customer_id)
            return Answer("ok", 200)
        finally:
            self.at_once -= 1

    async def find(self, delivery: Leased, at: datetime) -> Answer | None:
        return None


@pytest.mark.parametrize(
    "fault", [KeyError("x"), RecursionError(), OverflowError(), AssertionError(), OSError("odd")]
)
async def test_a_fault_ends_its_own_delivery_and_no_other(
    bench: AlertsHarness, fault: Exception
) -> None:
    connectors = Faulty(fault)
    await raised(bench, "bad", "c-1", "c-2")
    async with running(deliver(bench, connectors)):
        for number in range(1, FAULTS_MAX):
            await until(bench.engine, BAD, ("pending", number))
            bench.clock.pass_by(timedelta(days=1))
        await until(bench.engine, BAD, ("failed", FAULTS_MAX))
        await until(bench.engine, GOOD, (2,))
        await raised(bench, "c-3")
        await until(bench.engine, GOOD, (3,))
    reason = await rows(bench.engine, "SELECT reason FROM alerts.delivery WHERE reason <> ''")
    assert reason == [(f"a fault of ours, see the log: {type(fault).__name__}",)]


class Picky(Deliveries):
    """Deliveries that cannot store one customer's outcome if it has a status."""

    async def settle(self, work: UnitOfWork, attempts: Sequence[Attempted]) -> dict[str, str]:
        if any(a.delivery.customer_id == "bad" and a.answer.status for a in attempts):
            raise asyncpg.DataError("invalid input for query argument $8")
        return await super().settle(work, attempts)


async def test_an_outcome_that_cannot_be_stored_ends_its_own_delivery(bench: AlertsHarness) -> None:
    class Ok(Faulty):
        async def send(self, delivery: Leased, at: datetime) -> Answer:
            return Answer("ok", 200)

    await raised(bench, "bad", "c-1", "c-2")
    async with running(deliver(bench, Ok(), Picky())):
        await until(bench.engine, STATUS, ("bad", "failed", 1), ("c-1", "delivered", 1),
                    ("c-2", "delivered", 1))  # fmt: skip


async def test_a_delivery_that_processes_die_of_is_sent_alone_and_then_no_more(
    bench: AlertsHarness,
) -> None:
    await raised(bench, "bad")
    for death in range(ALONE_FROM + DEATHS_MAX):
        connectors = Faulty()
        await raised(bench, f"c-{death}", f"d-{death}")
        loop = asyncio.create_task(deliver(bench, connectors)(Stop()))
        async with asyncio.timeout(20):
            await connectors.reached.wait()
        if death >= ALONE_FROM:
            assert connectors.beside == 1
        await kill(loop)
        bench.clock.pass_by(timedelta(seconds=61))
    async with running(deliver(bench, Faulty())):
        await until(bench.engine, BAD, ("failed", 1))
        await until(bench.engine, GOOD, (2 * (ALONE_FROM + DEATHS_MAX),))
    reason = await rows(bench.engine, "SELECT reason FROM alerts.delivery WHERE reason <> ''")
    assert reason == [(QUARANTINED,)]


@pytest.mark.parametrize("kills", [1, 2, 4])
async def test_leases_lost_to_kills_cost_no_delivery(bench: AlertsHarness, kills: int) -> None:
    """Several processes in a row are killed while they hold leases on all deliveries.

    None is killed three times while it sends the same delivery alone; the next process sends them
    all.
    """

    class Stuck(Faulty):
        async def send(self, delivery: Leased, at: datetime) -> Answer:
            self.reached.set()
            await asyncio.Event().wait()
            raise AssertionError

    customers = [f"c-{n}" for n in range(6)]
    await raised(bench, *customers)
    for _ in range(kills):
        stuck = Stuck()
        loop = asyncio.create_task(deliver(bench, stuck)(Stop()))
        await stuck.reached.wait()
        await kill(loop)
        bench.clock.pass_by(timedelta(seconds=61))
    healthy = Faulty()
    async with running(deliver(bench, healthy)):
        await until(bench.engine, GOOD, (len(customers),))
    assert sorted(healthy.sent) == customers
    lost = await rows(bench.engine, "SELECT DISTINCT lost FROM alerts.delivery")
    assert lost == [(0,)]
