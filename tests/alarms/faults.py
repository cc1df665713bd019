"""The faults of the live run, each with the alarm that it must cause and others that may come."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from os import environ
from pathlib import Path
from typing import Any, Final

import asyncpg

from deploy.demo.replayer import STRUCTURED
from deploy.demo.services import CRM, NAMES
from shared.contracts.topics import RAW
from shared.kafka.producer import Producer, Record
from shared.kernel.errors import Transient
from tests.e2e.services_on_history import World

PAUSE_S: Final = 0.25
"""Between two steps of the feed."""
CUSTOMERS: Final = 200
POISON: Final = 120
"""Unreadable records of the flood: more than 50, fewer than would stop the intake."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `also`: beginnings of the names of alarms that are right as well."""

    name: str
    alarm: str
    labels: dict[str, str]
    play: Callable[[World], AbstractAsyncContextManager[None]]
    also: tuple[str, ...] = ()

    @property
    def wanted(self) -> dict[str, str]:
        """The labels by which its alarm is recognised."""
        return {"alertname": self.alarm, **self.labels}


class Feed:
    """Live events: purchases of known customers, and new customers who have gone silent."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._number = 0

    async def run(self) -> None:
        """Send until cancelled; what cannot be sent is left out."""
        while True:
            self._number += 1
            now = datetime.now(UTC)
            records = [self._purchase(f"regular-{self._number % CUSTOMERS}", now)]
            gone, last = f"silent-{self._number}", now - timedelta(days=24)
            records += [self._purchase(gone, last - timedelta(weeks=n)) for n in range(11, -1, -1)]
            with contextlib.suppress(Transient):  # the broker is the fault of the moment
                await self._producer.send(records)
            await asyncio.sleep(PAUSE_S)

    def _purchase(self, customer: str, at: datetime) -> Record:
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"{customer}-{at.isoformat()}",
            "source": "shop",
            "type": "io.ebbwatch.purchase",
            "time": at.isoformat(),
            "subject": customer,
            "data": {"amount": "10.00", "currency": "USD"},
        }
        return Record(RAW.name, customer.encode(), json.dumps(event).encode(), (STRUCTURED,))


@asynccontextmanager
async def fed_world(folder: Path) -> AsyncIterator[World]:
    """Run the services on servers of their own, on the wall clock, while events keep coming."""
    foreign = {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"}
    own = {name: value for name, value in environ.items() if name not in foreign}
    async with World.open(folder, own, clock="live") as world, _feeding(world):
        yield world


def targets(world: World) -> dict[str, str]:
    """Return the services' `host:port` by the jobs of the shipped configuration."""
    return {f"ebbwatch-{name}": world.services.url(name)[7:] for name in NAMES}


@asynccontextmanager
async def _feeding(world: World) -> AsyncIterator[None]:
    producer = Producer(world.stack.kafka.settings, "feed")
    task = asyncio.create_task(Feed(producer).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await producer.close()


@asynccontextmanager
async def poison(world: World) -> AsyncIterator[None]:
    """The first records ever that cannot be accepted, all at once."""
    producer = Producer(world.stack.kafka.settings, "poison")
    await producer.send(Record(RAW.name, b"x", b"{no event", ()) for _ in range(POISON))
    await producer.close()
    yield


@asynccontextmanager
async def stalled_lock(world: World) -> AsyncIterator[None]:
    """Another session holds the rows of scoring's ledger."""
    rival = await asyncpg.connect(world.database_url)
    try:
        async with rival.transaction():
            await rival.execute("SELECT FROM scoring.partition FOR UPDATE")
            yield
    finally:
        await rival.close()


@asynccontextmanager
async def postgres_killed(world: World) -> AsyncIterator[None]:
    """kill -9 of the postmaster; it comes back through its own recovery."""
    await asyncio.to_thread(world.stack.postgres.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(world.stack.postgres.start)


@asynccontextmanager
async def broker_frozen(world: World) -> AsyncIterator[None]:
    """SIGSTOP: it accepts connections and never answers."""
    world.stack.kafka.freeze()
    try:
        yield
    finally:
        world.stack.kafka.thaw()


@asynccontextmanager
async def consumer_stopped(world: World) -> AsyncIterator[None]:
    """kill -9 of the only process of scoring; later another one starts."""
    await asyncio.to_thread(world.services.kill, "scoring")
    try:
        yield
    finally:
        world.stack.forget_dead_members()
        world.services.start("scoring")


@asynccontextmanager
async def receiver_down(world: World) -> AsyncIterator[None]:
    """The receiver of the tasks is gone; later it is back at the same address."""
    await asyncio.to_thread(world.services.kill, CRM)
    try:
        yield
    finally:
        world.services.start(CRM)


BEHIND: Final = (
    "EbbwatchNotReady",
    "EbbwatchNothingConsumed",
    "EbbwatchLag",
    "EbbwatchFreshness",
    "EbbwatchLatency",
    "EbbwatchOutboxOld",
)
"""What follows where work stands still."""

FAULTS: Final = (
    Fault(
        "first poison flood",
        "EbbwatchDeadLetterFlood",
        {"job": "ebbwatch-ingest"},
        poison,
        ("EbbwatchDeadLetters",),
    ),
    Fault(
        "receiver down",
        "EbbwatchDeliveryFails",
        {"endpoint": CRM},
        receiver_down,
        ("EbbwatchDeliveriesOld",),
    ),
    Fault(
        "stalled lock",
        "EbbwatchNothingConsumed",
        {"job": "ebbwatch-scoring", "topic": "ebbwatch.activity"},
        stalled_lock,
        BEHIND,
    ),
    Fault(
        "consumer stopped",
        "EbbwatchServiceDown",
        {"job": "ebbwatch-scoring"},
        consumer_stopped,
        BEHIND,
    ),
    Fault(
        "broker frozen",
        "EbbwatchNotReady",
        {"job": "ebbwatch-scoring", "check": "kafka"},
        broker_frozen,
        BEHIND,
    ),
    Fault(
        "PostgreSQL killed",
        "EbbwatchNotReady",
        {"job": "ebbwatch-scoring", "check": "postgres"},
        postgres_killed,
        BEHIND,
    ),
)
