"""Alerts as a real process on the real broker and database, with its own topics."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import msgspec
import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local import topics as creating
from deploy.local.stack import LocalStack
from deploy.local.waiting import LOOPBACK, free_port
from services.alerts.__main__ import _add_commands
from services.alerts.commands.service import SPEC
from shared.contracts import activity, events, risk, topics, treatment
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Profile
from shared.contracts.risk import RiskAssessed
from shared.contracts.topics import Topic
from shared.kafka.batch import ConsumedRecord as Read
from shared.kafka.producer import Record
from shared.kafka.settings import KafkaSettings
from tests.integration.alerts.receiver import LIMIT_S, SECRET, Receiver
from tests.integration.commands import run_command

PARTITIONS = 2


@dataclass(frozen=True, slots=True)
class ServiceEnvironment:
    """A stack, a database and topics that no other test uses."""

    stack: LocalStack
    database_url: str
    engine: AsyncEngine
    receiver: Receiver
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def topic(self, name: str) -> str:
        """Return the test's topic for a purpose: risk, activity, treatment or dead-letter."""
        return f"{name}-{self.mark}"

    @property
    def kafka(self) -> KafkaSettings:
        return self.stack.kafka.settings

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment variables of the service's process."""
        endpoint = {"id": "crm", "url": self.receiver.url, "secrets": [SECRET]}
        own = {
            "EBBWATCH_ALERTS_RISK_TOPIC": self.topic("risk"),
            "EBBWATCH_ALERTS_ACTIVITY_TOPIC": self.topic("activity"),
            "EBBWATCH_ALERTS_CHANGES_TOPIC": self.topic("changes"),
            "EBBWATCH_ALERTS_TREATMENT_TOPIC": self.topic("treatment"),
            "EBBWATCH_ALERTS_DEAD_LETTER_TOPIC": self.topic("dead-letter"),
            "EBBWATCH_ALERTS_GROUP": f"alerts-{self.mark}",
            "EBBWATCH_ALERTS_ENDPOINTS": json.dumps([endpoint]),
            "EBBWATCH_ALERTS_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
            "EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY": "false",
        }
        return {
            **os.environ,
            **self.stack.environment(),
            "DATABASE_URL": self.database_url,
            **own,
            **settings,
        }

    async def prepare(self) -> None:
        """Create the topics."""
        wanted = (
            ("risk", topics.RISK),
            ("activity", topics.ACTIVITY),
            ("changes", topics.CHANGES),
            ("treatment", topics.TREATMENT),
            ("dead-letter", topics.DEAD_LETTER),
        )
        new = tuple(Topic(self.topic(name), PARTITIONS, like.settings) for name, like in wanted)
        await creating.create(self.kafka, new)

    def risk(self, message: RiskAssessed) -> Record:
        """Return a record of the risk topic."""
        value = risk.ENCODER.encode(message)
        return Record(self.topic("risk"), message.customer_id.encode(), value)

    def purchase(self, customer: str, at: datetime, backfill: str | None = None) -> Record:
        """Return a purchase for the activity topic."""
        return self.event(customer, events.PURCHASE, at, ActivityData(amount=1.0), backfill)

    def profile(
        self, customer: str, at: datetime, profile: Profile, backfill: str | None = None
    ) -> Record:
        """Return a profile for the activity topic."""
        return self.event(customer, events.PROFILE, at, ActivityData(profile=profile), backfill)

    def event(
        self,
        customer: str,
        kind: str,
        at: datetime,
        data: ActivityData,
        backfill: str | None = None,
    ) -> Record:
        """Return an event for the activity topic."""
        event = Activity(
            specversion="1.0",
            id=uuid.uuid4().hex,
            source="/test",
            type=kind,
            time=at,
            subject=customer,
            backfill=backfill,
            data=data,
        )
        value = activity.ENCODER.encode(event)
        return Record(self.topic("activity"), customer.encode(), value)

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        async with self.engine.begin() as connection:
            return [dict(row) for row in (await connection.execute(sa.text(query))).mappings()]

    async def until(self, query: str, *expected: Any) -> None:
        """Wait until the single column of a query has these values."""
        found: list[Any] = []
        try:
            async with asyncio.timeout(LIMIT_S):
                while found != list(expected):
                    await asyncio.sleep(0.02)
                    found = [next(iter(row.values())) for row in await self.rows(query)]
        except TimeoutError:
            raise AssertionError(f"{query}: {found}, not {list(expected)}") from None

    async def consumed(self) -> None:
        """Wait until the service has read both topics to their ends."""
        consumer = AIOKafkaConsumer(**self.kafka.client_kwargs("test"))
        await consumer.start()
        try:
            for name in ("risk", "activity"):
                ours = [TopicPartition(self.topic(name), n) for n in range(PARTITIONS)]
                for tp, end in (await consumer.end_offsets(ours)).items():
                    if end:
                        await self.until(
                            "SELECT next_offset FROM alerts.partition "  # noqa: S608
                            f"WHERE topic = '{tp.topic}' AND partition = {tp.partition}",
                            end,
                        )
        finally:
            await consumer.stop()

    async def read(self, name: str, count: int) -> list[Read]:
        """Return the records of a topic, in the order of arrival, once there are `count`."""
        consumer = AIOKafkaConsumer(
            **self.kafka.client_kwargs("test"), auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(self.topic(name), n) for n in range(PARTITIONS)])
            found: list[Read] = []
            async with asyncio.timeout(LIMIT_S):
                while len(found) < count:
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found += records
            return sorted(found, key=lambda r: (r.timestamp, r.partition, r.offset))
        finally:
            await consumer.stop()

    async def treatments(self, count: int) -> list[treatment.TreatmentRecorded]:
        """Return what was published about treatments."""
        records = await self.read("treatment", count)
        return [
            msgspec.json.decode(r.value or b"", type=treatment.TreatmentRecorded) for r in records
        ]

    async def command(self, *arguments: str) -> str:
        """Run an operator's command within this process; fail unless it succeeded."""
        status, out, err = await run_command(SPEC, _add_commands, self.environment(), arguments)
        assert status == 0, err
        return out


@dataclass(frozen=True, slots=True)
class Running:
    """A running alerts service."""

    process: "asyncio.subprocess.Process"
    url: str

    async def ready(self) -> None:
        """Wait until the service is ready."""
        async with asyncio.timeout(LIMIT_S), httpx.AsyncClient() as client:
            while True:
                assert self.process.returncode is None, "alerts ended by itself"
                try:
                    if (await client.get(self.url + "/readyz", timeout=10)).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def metric(self, line: str) -> float:
        """Return the value of a metric, by its name and labels as `/metrics` shows them."""
        async with httpx.AsyncClient() as client:
            shown = (await client.get(self.url + "/metrics")).text
        found = [x.rpartition(" ")[2] for x in shown.splitlines() if x.startswith(line + " ")]
        return float(found[0]) if found else 0.0

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = LIMIT_S) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def alerts(place: ServiceEnvironment, **settings: str) -> AsyncIterator[Running]:
    """Run the service and wait until it is ready; kill it at the end if it still runs."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.alerts", "run"),
        env=place.environment(EBBWATCH_ALERTS_PORT=str(port), **settings),
    )
    running = Running(process, f"http://{LOOPBACK}:{port}")
    try:
        await running.ready()
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
