"""Section `delivery`: the real sender and database, receivers on loopback in one process.

per_s: a backlog is drained, each attempt logged. commit_to_send_ms: from the commit of the delivery
to its arrival, at 100 a second. neighbour_p99_ratio: the same with a second endpoint that never
answers and has a backlog, over without, the median of paired runs.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network

import httpx
import numpy as np
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.stack import LocalStack
from services.alerts.commands.service import SPEC
from services.alerts.connectors.registry import check
from services.alerts.core.webhook_payload import body
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import DELAYS_S
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.ports import (
    NewDelivery,
)
from services.alerts.delivery.sender import DeliverySender, SenderBounds
from services.alerts.delivery.store.deliveries import Deliveries
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.delivery.store.endpoint_admin import EndpointAdmin
from services.alerts.delivery.store.endpoint_secrets import EndpointSecrets
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.delivery.webhook import Webhook
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from shared.runtime.clock import SystemClock
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.unit.alerts.samples import raised_task

BACKLOG = 8_000
"""Deliveries drained: some ten seconds of work."""
RATE_PER_S = 100
SECONDS = 10
"""Seconds of each paced run: a thousand deliveries, so that the p99 is based on ten."""
PAIRS = 3
TIMEOUT_S = 5.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = body(raised_task())


async def run(stack: LocalStack) -> dict[str, float]:
    """Runs the whole section."""
    url = stack.postgres.fresh("ebbwatch_bench_delivery")
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "bench")
    await migrate(engine, SPEC.schema, SPEC.versions)
    try:
        async with receiver() as port:
            bench = Bench(engine, port)
            per_s = await bench.drain()
            alone, beside = [], []
            for _ in range(PAIRS):
                alone.append(await bench.paced(dead=False))
                beside.append(await bench.paced(dead=True))
    finally:
        await engine.dispose()
        stack.postgres.drop("ebbwatch_bench_delivery")
    pairs = zip(beside, alone, strict=True)
    return {
        "per_s": per_s,
        "commit_to_send_ms_p50": statistics.median(p50 for p50, _ in alone),
        "commit_to_send_ms_p99": statistics.median(p99 for _, p99 in alone),
        "neighbour_p99_ratio": statistics.median(b[1] / a[1] for b, a in pairs),
    }


class Bench:
    """The sender and what it sends."""

    def __init__(self, engine: AsyncEngine, port: int) -> None:
        self._engine = engine
        self._port = port
        self._clock = SystemClock()
        self._told = asyncio.Event()
        self._count = 0

    async def drain(self) -> float:
        """Return deliveries per second from the first arrival to the last one settled."""
        await self._begin_with("ok")
        await self._add(["ok"] * BACKLOG)
        async with self._sending():
            await self._delivered("ok")
            ended = time.monotonic()
        arrivals = await self._arrivals()
        assert len(arrivals) == BACKLOG, len(arrivals)
        return BACKLOG / (ended - min(arrivals.values()))

    async def paced(self, *, dead: bool) -> tuple[float, float]:
        """Return p50 and p99 from commit to arrival, ms; `dead`: beside an endpoint that hangs."""
        await self._begin_with("ok", "hang")
        if dead:
            await self._add(["hang"] * 2_000)
        committed: dict[str, float] = {}
        async with self._sending():
            begun = time.monotonic()
            for n in range(RATE_PER_S * SECONDS):
                await asyncio.sleep(max(0.0, begun + n / RATE_PER_S - time.monotonic()))
                (name,) = await self._add(["ok"])
                committed[name] = time.monotonic()
            await self._delivered("ok")
        arrivals = await self._arrivals()
        waits = [1000 * max(0.0, arrivals[name] - at) for name, at in committed.items()]
        return float(np.percentile(waits, 50)), float(np.percentile(waits, 99))

    async def _begin_with(self, *names: str) -> None:
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql("TRUNCATE alerts.delivery, alerts.attempt")
            await connection.exec_driver_sql("UPDATE alerts.endpoint SET disabled_at = NULL")
        endpoints = [Endpoint(id=x, url=f"http://127.0.0.1:{self._port}/{x}") for x in names]
        admin = EndpointAdmin(
            self._engine,
            EndpointSecrets(Encryption([])),
            lambda e, s: check(e, s, https_only=False),
        )
        await admin.register(endpoints, self._clock.now())

    async def _add(self, endpoints: Sequence[str]) -> list[str]:
        now = self._clock.now()
        new = []
        for endpoint in endpoints:
            self._count += 1
            new.append(
                NewDelivery(
                    customer_id=f"customer-{self._count}",
                    id=f"msg_{self._count}",
                    endpoint_id=endpoint,
                    task_id=f"rt_{self._count}",
                    kind="retention_task.opened",
                    body=BODY,
                    created_at=now,
                    received_ms=0,
                )
            )
        async with unit_of_work(self._engine) as work:
            await Deliveries().add(work, new)
        self._told.set()
        return [each.id for each in new]

    async def _pending(self, endpoint: str) -> int:
        async with unit_of_work(self._engine) as work:
            found = await work.driver.fetchval(
                "SELECT count(*) FROM alerts.delivery WHERE endpoint_id = $1 "
                "AND status = 'pending'",
                endpoint,
            )
        return int(found or 0)

    async def _delivered(self, endpoint: str) -> None:
        """Return once nothing waits for an endpoint."""
        while await self._pending(endpoint):  # noqa: ASYNC110 (what to wait for is a row)
            await asyncio.sleep(0.05)

    async def _arrivals(self) -> dict[str, float]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{self._port}/arrivals", timeout=30)
        found: dict[str, float] = answer.json()
        return found

    @asynccontextmanager
    async def _sending(self) -> AsyncIterator[None]:
        vault = Encryption([])
        keys = {name: (SecretStr(SECRET),) for name in ("ok", "hang")}
        stop = Stop()
        allowed = (ip_network("127.0.0.0/8"),)
        async with Http(timeout_s=TIMEOUT_S, allowed=allowed, clock=self._clock) as http:
            sender = DeliverySender(
                self._engine,
                deliveries=Deliveries(),
                endpoints=Endpoints(vault, keys),
                connectors=Webhooks(http),
                sending=SenderBounds(
                    concurrency_max=64,
                    timeout_s=TIMEOUT_S,
                    margin_s=2.0,
                    lease_s=60.0,
                    poll_s=0.1,
                    delays_s=DELAYS_S,
                ),
                clock=self._clock,
                health=Health(self._clock),
                deliveries_queued=self._told,
            )
            loop = asyncio.create_task(sender(stop))
            try:
                yield
            finally:
                stop.set()
                await loop


class Webhooks:
    """A webhook for each endpoint."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def of(self, endpoint: Endpoint) -> Webhook:
        """Return the endpoint's webhook as it is now."""
        return Webhook(endpoint, self._http)


@asynccontextmanager
async def receiver() -> AsyncIterator[int]:
    """Runs a receiver; yields its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmark.receiver"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
