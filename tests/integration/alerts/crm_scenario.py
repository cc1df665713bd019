"""One process of alerts with a fake CRM and an open task, for tests of callbacks and polls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.poll_changes import PollChanges
from services.alerts.connectors.registry import Connectors
from services.alerts.connectors.routes import CallbackContext, add_crm_callbacks
from services.alerts.connectors.store import CallbackRows, OwnerRows, PollRows
from services.alerts.connectors.wecom.card_click import HandleCardClick
from services.alerts.delivery.core.endpoint import Endpoint, Kind
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.inbound.http.callbacks import BODIES, CALLBACKS
from services.alerts.store import tasks as task_store
from shared.contracts.events import Owner, Profile
from shared.http.app import create_app
from shared.http.borders import Limits
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.runtime.health import Health
from tests.fakes.crm.serving import Served, serving
from tests.integration.alerts.harness import AlertsHarness
from tests.integration.crm.connector_kit import LOOPBACK
from tests.integration.crm.connector_kit import endpoint as crm_endpoint
from tests.unit.alerts.connectors.notices import leased
from tests.unit.alerts.samples import raised_task

VERDICTS = "SELECT id, status, verdict FROM alerts.task ORDER BY id"


@dataclass(slots=True)
class Stored(Endpoints):
    """The stored endpoints, kept in memory."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    async def sendable(self, _: UnitOfWork) -> list[Endpoint]:
        return list(self.endpoints.values())

    async def find(self, _: UnitOfWork, endpoint_id: str) -> Endpoint | None:
        return self.endpoints.get(endpoint_id)


@dataclass(slots=True)
class CrmScenario:
    """One process of alerts with one endpoint, a CRM, and an open task owned by Ann."""

    bench: AlertsHarness
    endpoint: Endpoint
    connectors: Connectors
    look: PollChanges
    client: httpx.AsyncClient
    rung: asyncio.Event
    stored: Stored

    async def deliver(self, **changes: Any) -> str:
        """Store an open task and send it to the CRM; return its id."""
        task = raised_task(Profile(language="zh-CN", owner=Owner(id="o-1", name="Ann")))
        task = msgspec.structs.replace(task, **changes)
        async with unit_of_work(self.bench.engine) as work:
            await work.driver.execute(
                "INSERT INTO alerts.customer (customer_id) VALUES ($1) ON CONFLICT DO NOTHING",
                task.customer_id,
            )
            await task_store.add(work, [task])
        sent = await self.connectors.of(self.endpoint).send(leased(task), self.bench.clock.now())
        assert sent.result == "ok", sent
        return task.id


@asynccontextmanager
async def office(
    engine: AsyncEngine, kind: Kind, fake: Served, timeout_s: float = 5.0
) -> AsyncIterator[CrmScenario]:
    """Run the process, the fake CRM and its connector."""
    owners = OwnerRows(engine)
    await owners.replace("crm", {"o-1": "zhangsan" if kind == "wecom_app" else "777"})
    async with AsyncExitStack() as closing:
        await closing.enter_async_context(serving(fake))
        bench = await closing.enter_async_context(AlertsHarness(engine))
        bench.clock.at = fake.now  # type: ignore[attr-defined]
        http = Http(timeout_s=timeout_s, allowed=LOOPBACK, clock=bench.clock)
        await closing.enter_async_context(http)
        changes = {"notify_url": "https://churn.example.com"} if kind == "zoho" else {}
        endpoint = crm_endpoint(kind, fake, **changes)
        stored, connectors = (
            Stored({"crm": endpoint}),
            Connectors(bench.shared(http), https_only=False),
        )
        rung = asyncio.Event()
        look = PollChanges(
            engine,
            endpoints=stored,
            readers=connectors,
            polls=PollRows(engine),
            give_verdict=bench.give_verdict(),
            clock=bench.clock,
            health=Health(bench.clock),
            poll_requested=rung,
            isolation=bench.careful,
        )
        take_click = HandleCardClick(
            engine=engine,
            owners=owners,
            callbacks=CallbackRows(engine),
            give_verdict=bench.give_verdict(),
            clock=bench.clock,
        )
        app = create_app("test", Health(bench.clock), Limits(open=(CALLBACKS,), bodies=BODIES))
        add_crm_callbacks(
            app,
            CallbackContext(
                engine=engine,
                endpoints=stored,
                polls=PollRows(engine),
                poll_requested=rung,
                take_click=take_click,
                cards=connectors,
                clock=bench.clock,
            ),
        )
        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url="http://alerts")
        await closing.enter_async_context(client)
        yield CrmScenario(bench, endpoint, connectors, look, client, rung, stored)


def pass_by(place: CrmScenario, fake: Any, **time: float) -> None:
    """Advance the clocks of the process and of the CRM."""
    place.bench.clock.pass_by(timedelta(**time))
    fake.now = place.bench.clock.now()
