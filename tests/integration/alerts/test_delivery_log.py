"""Retention of the delivery log, and the commands of operators.

Attempts are dropped by the day; deliveries are deleted.
"""

import argparse
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.endpoints import add_commands
from services.alerts.delivery.core.signature import check, public_key
from services.alerts.delivery.purge import AT_ONCE_MAX
from services.alerts.delivery.store.delivery_log import DeliveryFilter, DeliveryLog
from shared.postgres.housekeeping import Housekeeping, Kept, TimeTable
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.receiver import Receiver, reply
from tests.unit.alerts.samples import assessed

pytestmark = pytest.mark.stack

STATUS = "SELECT status, attempts FROM alerts.delivery ORDER BY seq"
WHERE = "SELECT tableoid::regclass::text FROM alerts.attempt"


@pytest.fixture
async def bench(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one endpoint."""
    async with AlertsHarness(engine, endpoints={"crm": receiver.url}) as made:
        yield made


async def test_attempts_go_with_their_day_and_deliveries_soon_after(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    """Deliveries that still wait are kept, however old they are."""
    receiver.answers = [reply(204), reply(500)]
    kept: list[Kept] = []
    table = TimeTable("alerts.attempt", "started_at", "day", 30)
    keeper = Housekeeping(bench.engine, bench.clock, (table,), kept.append)
    await keeper.once()
    await bench.read_risk(assessed(1, 0), assessed(1, 0, customer_id="c-2"))
    async with running(await bench.sender(concurrency_max=1)):
        await until(bench.engine, STATUS, ("delivered", 1), ("pending", 1))
    places = {place for (place,) in await rows(bench.engine, WHERE)}
    assert places != {"alerts.attempt_rest"}
    assert len(places) == 1
    bench.clock.pass_by(timedelta(days=32))
    await keeper.once()
    assert await rows(bench.engine, WHERE) == []
    assert kept[-1].dropped > 0
    log = DeliveryLog(bench.engine)
    before = bench.clock.now() - timedelta(days=30)
    assert await log.forget(before, AT_ONCE_MAX) == 1
    assert await log.forget(before, AT_ONCE_MAX) == 0
    assert await rows(bench.engine, STATUS) == [("pending", 1)]


async def test_the_dead_are_listed_with_their_reason_and_since_when(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    receiver.otherwise = reply(422, b"no such field", webhook_delivery="abort-message")
    await bench.read_risk(assessed(1, 0))
    begun = bench.clock.now()
    async with running(await bench.sender()):
        await until(bench.engine, STATUS, ("failed", 1))
    log = DeliveryLog(bench.engine)
    (dead,) = await log.page(DeliveryFilter(status="failed", since=begun), None, 10)
    assert dead["reason"] == "HTTP 422, the receiver asks for no retry"
    later = DeliveryFilter(status="failed", since=begun + timedelta(seconds=1))
    assert await log.page(later, None, 10) == []


async def test_endpoints_by_command(
    engine: AsyncEngine,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Endpoints are made, rotated, paused, resealed and deleted; each key is printed once only."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    monkeypatch.setenv("DATABASE_URL", database_url)

    async def command(*words: str, status: int = 0) -> str:
        args = parser.parse_args(["endpoints", *words])
        assert await args.command(args) == status
        return capsys.readouterr().out

    old, new = "A" * 43 + "=", "B" * 42 + "A="
    monkeypatch.setenv("EBBWATCH_ALERTS_SECRET_KEYS", old)
    secret = (await command("create", "made", "--url", "https://x.example")).strip()
    check(secret)
    rotated = (await command("rotate", "made", "--scheme", "v1a")).split()
    assert rotated[1] == public_key(rotated[0])
    await command("pause", "made")
    listed = await command("list")
    assert "paused since" in listed
    assert secret not in listed
    await command("enable", "none", status=1)
    monkeypatch.setenv("EBBWATCH_ALERTS_SECRET_KEYS", f"{new},{old}")
    assert await command("reencrypt") == "2 secrets encrypted again\n"
    await command("delete", "made")
    assert "no endpoint: `endpoints create ID" in await command("list")
    assert await rows(engine, "SELECT 1 FROM alerts.endpoint_secret") == []
