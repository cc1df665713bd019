"""A real ERP as the receiver: a task becomes one opportunity of a Tryton server."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.examples.tryton_bridge import Tryton
from deploy.local.waiting import LOOPBACK, answers, free_port
from services.alerts.delivery.store.delivery_log import DeliveryLog
from services.alerts.ports import VerdictGiven
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Owner, Profile
from shared.runtime.clock import SystemClock
from tests.consumers import running as consumers
from tests.consumers.tryton_base import OWNER, PASSWORD
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.receiver import LIMIT_S, SECRET
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

STATUS = "SELECT kind, status FROM alerts.delivery ORDER BY seq"
FIELDS = ["reference", "description", "comment", "state", "party.rec_name", "party.code",
          "employee.rec_name"]  # fmt: skip


@asynccontextmanager
async def process(port: int, *command: str, **environ: str) -> AsyncIterator[None]:
    """Run a process that serves a port; end it on exit."""
    made = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environ})
    try:
        async with asyncio.timeout(LIMIT_S):
            while not answers(port):
                assert made.returncode is None, f"{command[0]} ended by itself"
                await asyncio.sleep(0.1)
        yield
    finally:
        if made.returncode is None:
            made.terminate()
        await made.wait()


@pytest.fixture
async def erp(tmp_path: Path) -> AsyncIterator[str]:
    """Run a Tryton server with a company and its employee Ann; yield the URL of its database."""
    if not (consumers.TRYTON / "erp.sqlite").exists():
        consumers.missing("make consumers")
    shutil.copy(consumers.TRYTON / "erp.sqlite", tmp_path)
    port = free_port()
    conf = tmp_path / "trytond.conf"
    conf.write_text(
        f"[database]\nuri = sqlite://\npath = {tmp_path}\n[web]\nlisten = {LOOPBACK}:{port}\n"
    )
    server = consumers.ENVIRONMENT / "bin" / "trytond"
    python = str(consumers.PYTHON)
    async with process(port, python, "-W", "ignore", str(server), "-c", str(conf), "-d", "erp"):
        yield f"http://{LOOPBACK}:{port}/erp"


@pytest.fixture
async def bridge(erp: str) -> AsyncIterator[str]:
    """Run the bridge to Tryton in a process of its own; yield the URL for webhooks."""
    port = free_port()
    environ = {
        "TRYTON_BRIDGE_PORT": str(port),
        "TRYTON_BRIDGE_WEBHOOK_SECRET": SECRET,
        "TRYTON_BRIDGE_TRYTON_URL": erp,
        "TRYTON_BRIDGE_USER": "admin",
        "TRYTON_BRIDGE_PASSWORD": PASSWORD,
    }
    async with process(port, sys.executable, "-m", "deploy.examples.tryton_bridge", **environ):
        yield f"http://{LOOPBACK}:{port}/webhooks"


async def opportunities(erp: str) -> list[dict[str, Any]]:
    """Return Tryton's opportunities, read through its own API."""
    async with AsyncExitStack() as closing:
        http = await closing.enter_async_context(httpx.AsyncClient(timeout=30))
        tryton = Tryton(erp, "admin", SecretStr(PASSWORD), http)
        context = await tryton.context()
        found: list[dict[str, Any]] = await tryton.call(
            "model.sale.opportunity.search_read", [], 0, None, None, FIELDS, context
        )
        return found


async def test_a_task_is_an_opportunity_of_its_owner_once(
    engine: AsyncEngine, erp: str, bridge: str
) -> None:
    async with AlertsHarness(engine, endpoints={"erp": bridge}) as bench:
        bench.clock.at = SystemClock().now()  # the bridge checks the time of a signature
        profile = Profile(name="上海示例", language="zh-CN", owner=Owner(id=OWNER, name="Ann"))
        await bench.read_activity(
            Activity(
                specversion="1.0",
                id="p-1",
                source="/test",
                type=events.PROFILE,
                time=day(0),
                subject="c-1",
                data=ActivityData(profile=profile),
            )
        )
        await bench.read_risk(assessed(1, 1))
        [(task,)] = await rows(engine, "SELECT id FROM alerts.task")
        async with running(await bench.sender(timeout_s=30.0)):
            await until(engine, STATUS, ("retention_task.opened", "delivered"))
            [made] = await opportunities(erp)
            assert (made["reference"], made["state"]) == (task, "lead")
            assert made["description"] == "上海示例: 60%"
            assert "20 天未购买" in made["comment"]
            assert (made["party."]["code"], made["employee."]["rec_name"]) == ("c-1", "Ann")
            [(delivery,)] = await rows(engine, "SELECT id FROM alerts.delivery")
            assert await DeliveryLog(engine).resend(delivery, bench.clock.now())
            await until(engine, "SELECT outcome FROM alerts.attempt", *[("delivered",)] * 2)
            assert len(await opportunities(erp)) == 1, "the same message changes nothing"
            await bench.give_verdict()(VerdictGiven(task, "reached", None))
            await until(
                engine,
                STATUS,
                ("retention_task.opened", "delivered"),
                ("retention_task.closed", "delivered"),
            )
            [ended] = await opportunities(erp)
            assert (ended["reference"], ended["state"]) == (task, "cancelled")
