"""One pass of a loop of alerts, in a process of its own that a planted item ends."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, cast

from pydantic import SecretStr

from services.alerts.connectors.core.verdict_mapping import CrmRecord
from services.alerts.connectors.poll_changes import PollChanges
from services.alerts.connectors.ports import (
    ChangeReader,
)
from services.alerts.connectors.store import PollRows
from services.alerts.core.policy_document import read
from services.alerts.delivery.core.endpoint import Endpoint
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from shared.runtime.health import Health
from tests.integration.alerts.crm_scenario import Stored
from tests.integration.alerts.harness import AlertsHarness
from tests.integration.planted_failure import poison
from tests.unit.alerts.samples import day

TITLE = {"en": "Wish a happy birthday", "zh-CN": "送上生日祝福"}
POLICY = read(
    {
        "name": "test",
        "expire_days": 30,
        "playbooks": [{"id": "greet", "channels": ["phone"]}],
        "care": [{"name": "birthday", "title": TITLE, "playbook": "greet",
                  "birthday_days_before": 1}],
    }
)  # fmt: skip
ENDPOINTS = {
    name: Endpoint(id=name, kind="zoho", url="http://127.0.0.1:9")
    for name in ("crm-good", "crm-poison")
}


class Quiet:
    """A CRM without changes."""

    def reader(self, _: Endpoint) -> ChangeReader:
        return cast("ChangeReader", self)

    def every_s(self, _: Endpoint) -> float:
        return 60.0

    async def watch(self, now: datetime, _: datetime | None) -> datetime | None:
        return now + timedelta(days=1)

    async def changes(self, _: datetime) -> list[CrmRecord]:
        return []


def look(bench: AlertsHarness) -> PollChanges:
    """Return the polling loop over two endpoints."""
    return PollChanges(
        bench.engine,
        endpoints=Stored(dict(ENDPOINTS)),
        readers=Quiet(),
        polls=PollRows(bench.engine),
        give_verdict=bench.give_verdict(),
        clock=bench.clock,
        health=Health(bench.clock),
        poll_requested=asyncio.Event(),
        isolation=bench.careful,
    )


async def _pass(url: str, loop: str, at: datetime) -> None:
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test")
    bench: Any
    async with AlertsHarness(engine) as bench:
        bench.clock.at, bench.policy = at, POLICY
        if loop == "tend":
            await bench.tend().iterate()
        elif loop == "care":
            await bench.take_care()(at)
        else:
            await look(bench).iterate()
    await engine.dispose()


def one_pass(url: str, loop: str, number: float, where: str, how: str) -> None:
    """Run the process's single pass: `loop` is tend, care or look; `number` is the day."""
    poison(where, "-poison", how)
    asyncio.run(_pass(url, loop, day(number)))
