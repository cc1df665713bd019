"""An endpoint that was stored before the https rule receives nothing, whatever its kind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.commands.endpoints import state
from services.alerts.connectors.registry import refused
from services.alerts.delivery.core.endpoint import SIGNING, Endpoint, Kind
from services.alerts.delivery.sender import raise_alarm
from shared.kernel.errors import Invalid
from tests.fakes.crm.zoho import FakeZoho
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.receiver import SECRET
from tests.integration.crm.connector_kit import SECRETS, config
from tests.unit.alerts.samples import assessed

pytestmark = pytest.mark.stack

KINDS: tuple[Kind, ...] = ("webhook", "zoho", "fxiaoke", "wecom_bot", "wecom_app")
WAITS = "SELECT status FROM alerts.delivery"
WHY = "must be https, unless EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY is false; then enable it"


@dataclass(slots=True)
class Wire:
    """A listener on loopback that keeps every byte it receives."""

    url: str = ""
    connections: int = 0
    heard: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """Listen and answer nothing."""
    found = Wire()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        found.heard += await reader.read(65_536)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found


async def stored(bench: AlertsHarness, kind: Kind, url: str) -> str:
    """Store an endpoint that predates the rule, and a task that waits for it.

    Returns the name of the field that is wrong.
    """
    fake = FakeZoho(url=url)
    made = Endpoint(
        id="old",
        kind=kind,
        url=url if kind == "webhook" else None,
        config={} if kind == "webhook" else config(kind, fake, fallback_owner="777"),
    )
    secrets = {SIGNING: SECRET} if kind == "webhook" else SECRETS[kind]
    await bench.admin.create(made, secrets, "v1", bench.clock.now())
    await bench.read_risk(assessed(1, 1))
    assert await rows(bench.engine, WAITS) == [("pending",)]
    return "url" if kind == "webhook" else "config.api_url"


def alarms() -> float:
    """Return how often the alarm about the endpoint was raised."""
    return float(metrics.ENDPOINTS_DISABLED.labels("old")._value.get())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_plain_endpoint_is_switched_off_with_its_reason_before_anything_is_sent(
    engine: AsyncEngine, kind: Kind
) -> None:
    async with wire() as there, AlertsHarness(engine) as bench:
        field_wrong = await stored(bench, kind, there.url)
        strict, before = replace(bench, https_only=True), alarms()

        may_not = partial(refused, https_only=True)
        off = await strict.admin.switch_off(may_not, bench.clock.now())
        raise_alarm(off)

        assert off == {"old": f"{field_wrong}: {WHY}"}
        assert alarms() == before + 1
        shown = await strict.admin.find("old")
        assert shown is not None
        assert shown.row["disabled_reason"] == off["old"]
        assert state(shown.row).endswith(off["old"])
        assert await strict.admin.switch_off(may_not, bench.clock.now()) == {}
        with pytest.raises(Invalid, match=f"{field_wrong}: must be https"):
            await strict.admin.enable("old")
        async with running(await strict.sender()):
            await asyncio.sleep(0.3)
        assert there.connections == 0
        assert await rows(engine, WAITS) == [("pending",)]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_sender_sends_it_nothing_even_where_it_is_on(
    engine: AsyncEngine, kind: Kind
) -> None:
    """Sending a sample is refused as well: every way leads through the connector."""
    async with wire() as there, AlertsHarness(engine) as bench:
        field_wrong = await stored(bench, kind, there.url)
        strict, before = replace(bench, https_only=True), alarms()
        managing = await strict.managing()

        tried: Any = await managing.send_sample("old")
        assert (tried.result, tried.error) == ("endpoint_dead", f"{field_wrong}: {WHY}")
        if kind in {"zoho", "fxiaoke"}:
            endpoint = Endpoint(id="old", kind=kind, config=config(kind, FakeZoho(url=there.url)))
            with pytest.raises(Invalid):
                (await strict.connectors()).reader(endpoint)
        async with running(await strict.sender()):
            reason = "SELECT disabled_reason FROM alerts.endpoint"
            await until(engine, reason, (f"{field_wrong}: {WHY}",))

        assert alarms() == before + 1
        assert (there.connections, bytes(there.heard)) == (0, b"")
        assert await rows(engine, WAITS) == [("pending",)]


async def test_a_plain_endpoint_gets_what_waited_once_its_address_is_allowed(
    engine: AsyncEngine,
) -> None:
    """Only the rule held the message back."""
    async with wire() as there, AlertsHarness(engine) as bench:
        await stored(bench, "webhook", there.url)
        may_not = partial(refused, https_only=True)
        await bench.admin.switch_off(may_not, bench.clock.now())
        await bench.admin.enable("old")
        async with running(await bench.sender()), asyncio.timeout(20):
            while not there.heard:  # noqa: ASYNC110 (bytes, not an event)
                await asyncio.sleep(0.01)
        assert b"webhook-signature" in there.heard.lower()
