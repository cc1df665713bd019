"""The failure tests of delivery that need more than a misbehaving receiver.

Their numbers are those of `docs/delivery.md`. They run on a real database and a clock set by the
test.
"""

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.store.delivery_log import DeliveryLog
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock
from tests.integration.alerts.harness import (
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.receiver import (
    SECRET,
    Receiver,
    Request,
    hang,
    receiving,
    reply,
)
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

STATUS = "SELECT status, attempts FROM alerts.delivery ORDER BY seq"
DELIVERED = "SELECT count(*) FROM alerts.delivery WHERE status = 'delivered'"


@pytest.fixture
async def bench(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one endpoint."""
    async with AlertsHarness(engine, endpoints={"crm": receiver.url}) as made:
        yield made


async def test_06_a_throttled_delivery_waits_at_least_a_minute(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    """429 with seconds and with a date waits at least a minute; an absurd wait is bounded."""
    waits = []
    for number, (status, wish) in enumerate(
        ((429, "30"), (429, "date"), (503, "8"), (503, "9" * 30), (503, "soon"))
    ):
        at = format_datetime(bench.clock.now().astimezone(UTC) + timedelta(seconds=90), usegmt=True)
        receiver.answers = [reply(status, retry_after=at if wish == "date" else wish)]
        await bench.read_risk(assessed(1, 0, customer_id=f"c-{number}"))
        async with running(await bench.sender()):
            await until(bench.engine, "SELECT attempts FROM alerts.delivery ORDER BY seq",
                        *[(1,)] * (number + 1))  # fmt: skip
        ((next_at,),) = await rows(
            bench.engine, "SELECT next_at FROM alerts.delivery ORDER BY seq DESC LIMIT 1"
        )
        waits.append((next_at - bench.clock.now()).total_seconds())
    assert waits[:4] == [60, 60, 8, 10]
    assert 4 <= waits[4] <= 6


async def test_08_sporadic_failures_do_not_switch_off_and_120_h_do(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    """One success resets the clock; the reason is stored and shown."""
    receiver.otherwise = reply(500)
    failing = "SELECT failing_since IS NOT NULL, disabled_reason FROM alerts.endpoint"
    sender = await bench.sender()
    async with running(sender):
        for hours in range(0, 140, 20):
            await bench.read_risk(assessed(1, 0, customer_id=f"a-{hours}"))
            await until(bench.engine, failing, (True, None))
            receiver.answers = [reply(200)] * 20 if hours == 60 else []
            if hours == 60:
                await bench.read_risk(assessed(1, 0, customer_id="good"))
                await until(bench.engine, failing, (False, None))
                receiver.answers = []
                await bench.read_risk(assessed(1, 0, customer_id="bad-again"))
                await until(bench.engine, failing, (True, None))
            bench.clock.pass_by(timedelta(hours=20))
        assert await rows(bench.engine, failing) == [(True, None)]
        for hours in range(140, 240, 20):
            await bench.read_risk(assessed(1, 0, customer_id=f"b-{hours}"))
            bench.clock.pass_by(timedelta(hours=20))
        await until(bench.engine, failing, (True, "nothing but failures for 120 h"))
        await bench.admin.enable("crm")
        assert await rows(bench.engine, failing) == [(False, None)]


async def test_09_the_breaker_opens_tries_once_and_closes_and_the_neighbour_goes_on(
    engine: AsyncEngine, receiver: Receiver
) -> None:
    async with (
        receiving() as dead,
        AlertsHarness(engine, endpoints={"crm": receiver.url, "erp": dead.url}) as bench,
    ):
        dead.otherwise = reply(500)
        sender = await bench.sender()
        async with running(sender):
            await bench.read_risk(*(assessed(1, 0, customer_id=f"c-{n}") for n in range(40)))
            await until(engine, "SELECT count(*) FROM alerts.delivery WHERE endpoint_id = 'crm' "
                        "AND status = 'delivered'", (40,))  # fmt: skip
            tried = "SELECT count(*) FROM alerts.attempt WHERE outcome = 'retry'"
            await asyncio.sleep(0.5)
            ((first,),) = await rows(engine, tried)
            assert 10 <= first <= 13, "ten, and those that were under way beside the tenth"
            bench.clock.pass_by(timedelta(seconds=31))
            await until(engine, tried, (first + 1,))
            await asyncio.sleep(0.3)
            assert await rows(engine, tried) == [(first + 1,)], "one probe, and open again"
            dead.otherwise = reply(204)
            bench.clock.pass_by(timedelta(seconds=400))
            await until(engine, DELIVERED, (80,))


async def test_10_rotation_in_the_middle_of_a_retry(
    engine: AsyncEngine, receiver: Receiver
) -> None:
    """Both secrets verify during the overlap, only the new one after it (DELIVERY 7.8)."""
    async with AlertsHarness(engine, endpoints={}) as bench:
        bench.clock.at = SystemClock().now()
        old = await bench.admin.create(
            Endpoint(id="api", url=receiver.url), {}, "v1", bench.clock.now()
        )
        receiver.answers = [reply(500)]
        await bench.read_risk(assessed(1, 0))
        async with running(await bench.sender()):
            await until(engine, STATUS, ("pending", 1))
            new = await bench.admin.rotate("api", "v1", 0.001, bench.clock.now())
            bench.clock.pass_by(timedelta(seconds=3))  # 0.001 h are 3.6 s
            log = DeliveryLog(engine)
            assert await log.resend(receiver.requests[0].id, bench.clock.now())
            await until(engine, STATUS, ("delivered", 1))
            bench.clock.pass_by(timedelta(seconds=3))
            assert await log.resend(receiver.requests[0].id, bench.clock.now())
            await receiver.got(3)
            await until(engine, STATUS, ("delivered", 1))
        assert old is not None
        assert new is not None
        assert verdicts(receiver.requests, old.secret, new.secret) == [
            (True, False), (True, True), (False, True),
        ]  # fmt: skip


def verdicts(requests: Sequence[Request], *secrets: str) -> list[tuple[bool, ...]]:
    """Return which secrets verify each request."""

    def ok(request: Request, secret: str) -> bool:
        try:
            Verifier(secret).verify(request.body, request.headers)
        except WebhookVerificationError:
            return False
        return True

    return [tuple(ok(request, secret) for secret in secrets) for request in requests]


async def test_10_at_most_ten_old_secrets(bench: AlertsHarness, receiver: Receiver) -> None:
    await bench.admin.create(Endpoint(id="api", url=receiver.url), {}, "v1", bench.clock.now())
    for _ in range(10):
        await bench.admin.rotate("api", "v1", 24, bench.clock.now())
    with pytest.raises(Invalid, match="10 old ones"):
        await bench.admin.rotate("api", "v1", 24, bench.clock.now())
    for hours in (-1, 169):
        with pytest.raises(Invalid, match="0 to 168"):
            await bench.admin.rotate("api", "v1", hours, bench.clock.now())
    bench.clock.pass_by(timedelta(hours=25))
    assert await bench.admin.rotate("api", "v1a", 24, bench.clock.now())


async def test_13_recover_since(bench: AlertsHarness, receiver: Receiver) -> None:
    """Deliveries that were created since then and failed gain an attempt.

    Earlier ones and those that succeeded do not. Three weeks are too long a period.
    """
    receiver.otherwise = reply(400, webhook_delivery="abort-message")
    log = DeliveryLog(bench.engine)
    async with running(await bench.sender()):
        await bench.read_risk(assessed(1, 0, customer_id="before"))
        await until(bench.engine, STATUS, ("failed", 1))
        bench.clock.pass_by(timedelta(hours=1))
        since = bench.clock.now()
        await bench.read_risk(assessed(1, 0, customer_id="after"))
        await until(bench.engine, STATUS, ("failed", 1), ("failed", 1))
        receiver.otherwise = reply(204)
        await bench.read_risk(assessed(1, 0, customer_id="fine"))
        await until(bench.engine, STATUS, ("failed", 1), ("failed", 1), ("delivered", 1))
        assert await log.recover("crm", since, bench.clock.now()) == 1
        await until(bench.engine, STATUS, ("failed", 1), ("delivered", 1), ("delivered", 1))
        assert await log.recover("crm", since + timedelta(hours=9), bench.clock.now()) == 0
    with pytest.raises(Invalid, match="14 days"):
        await log.recover("crm", bench.clock.now() - timedelta(weeks=3), bench.clock.now())
    assert len(receiver.requests) == 4


async def test_19_no_secret_and_no_url_in_any_log(
    engine: AsyncEngine, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Holds for every failure, at the most verbose log level."""
    written = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(written))
    caplog.set_level(logging.DEBUG)
    url = receiver.url + "?key=bot-key-93000"
    closed = "http://127.0.0.1:9/hook?key=bot-key-93000"
    try:
        async with AlertsHarness(engine, endpoints={"crm": url, "off": closed}) as bench:
            receiver.answers = [reply(500), hang, reply(410)]
            await bench.read_risk(*(assessed(1, 0, customer_id=f"c-{n}") for n in range(3)))
            async with running(await bench.sender(timeout_s=0.5, concurrency_max=1)):
                await until(engine, "SELECT count(*) FROM alerts.attempt", (6,))
            logged = await rows(engine, "SELECT error, response_head FROM alerts.attempt")
    finally:
        structlog.reset_defaults()
    shown = caplog.text + written.getvalue() + repr(logged)
    assert "endpoint disabled" in shown
    for hidden in (SECRET, SECRET[6:], "bot-key-93000", "/hook"):
        assert hidden not in shown
    assert SECRET[6:] not in repr(bench.stored._fixed)


async def test_20_a_day_of_outage_then_a_drain_at_the_rate_in_order(
    engine: AsyncEngine, receiver: Receiver
) -> None:
    """Nothing is lost, repeated, out of order for a customer, or sent above the rate."""
    like = Endpoint(id="any", rate_per_s=5.0, burst=1)
    async with AlertsHarness(engine, endpoints={"crm": receiver.url}, like=like) as bench:
        receiver.otherwise = reply(503)
        customers = [f"c-{n}" for n in range(12)]
        async with running(await bench.sender()):
            for _ in range(24):
                await asyncio.sleep(0.02)
                bench.clock.pass_by(timedelta(hours=1))
            await bench.read_risk(*(assessed(1, 0, customer_id=c) for c in customers))
            await bench.read_risk(
                *(assessed(2, 5, "low", last_purchase_at=day(4), customer_id=c) for c in customers)
            )
            await receiver.got(1)
            for _ in range(30):
                bench.clock.pass_by(timedelta(minutes=48))
                await asyncio.sleep(0.02)
            failed = len(receiver.requests)
            receiver.otherwise = reply(204)
            times: list[datetime] = []
            while await rows(engine, DELIVERED) != [(24,)]:
                before = len(receiver.requests)
                bench.clock.pass_by(timedelta(seconds=0.1))
                await asyncio.sleep(0.03)
                times += [bench.clock.now()] * (len(receiver.requests) - before)
                if len(times) < 3:
                    bench.clock.pass_by(timedelta(hours=5))
        taken = receiver.requests[failed:]
        assert len({request.id for request in taken}) == len(taken) == 24
        by_customer: dict[str, list[str]] = {}
        for request in taken:
            by_customer.setdefault(customer_of(request), []).append(request.type)
        assert set(by_customer) == set(customers)
        assert {tuple(kinds) for kinds in by_customer.values()} == {
            ("retention_task.opened", "retention_task.closed")
        }
        within = max(
            sum(start <= at < start + timedelta(seconds=1) for at in times) for start in times
        )
        assert within <= 6, "five a second, and the one that waited"


def customer_of(request: Request) -> str:
    """Return the customer of the task in a request."""
    return request.body.decode().partition('"customer":{"id":"')[2].partition('"')[0]
