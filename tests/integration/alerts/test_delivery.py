"""The sender against receivers that misbehave, on a real database and a clock set by the test.

A test with a number is the failure test of that number in `docs/delivery.md`.

Signatures carry the time of the test's clock, so they are not verified here.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.delivery.core.retry import DELAYS_S, Answer
from services.alerts.delivery.ports import (
    Attempted,
    Leased,
)
from services.alerts.delivery.sender import DeliverySender
from services.alerts.delivery.store.deliveries import Deliveries
from shared.postgres.engine import unit_of_work
from tests.integration.alerts.harness import (
    WALL_0,
    AlertsHarness,
    rows,
    running,
    until,
)
from tests.integration.alerts.receiver import Receiver, Request, hang, receiving, reply, reset
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

STATUS = "SELECT status, attempts FROM alerts.delivery ORDER BY seq"


@pytest.fixture
async def bench(engine: AsyncEngine, receiver: Receiver) -> AsyncIterator[AlertsHarness]:
    """Provide a harness with one endpoint."""
    async with AlertsHarness(engine, endpoints={"crm": receiver.url}) as made:
        yield made


async def test_04_500_then_200(bench: AlertsHarness, receiver: Receiver) -> None:
    """The retry has the same id and body and a fresh timestamp and signature."""
    receiver.answers = [reply(500, b"down")]
    await bench.read_risk(assessed(1, 0))
    async with running(await bench.sender()):
        await until(bench.engine, STATUS, ("pending", 1))
        ((wait,),) = await rows(bench.engine, "SELECT next_at FROM alerts.delivery")
        assert 4 <= (wait - WALL_0).total_seconds() <= 6
        bench.clock.pass_by(timedelta(seconds=6))
        await until(bench.engine, STATUS, ("delivered", 2))
    first, second = receiver.requests
    assert (first.id, first.body) == (second.id, second.body)
    assert int(second.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 6
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    log = await rows(
        bench.engine,
        "SELECT number, outcome, response_status, response_head FROM alerts.attempt ORDER BY 1",
    )
    assert log == [(1, "retry", 500, "down"), (2, "delivered", 204, "")]


async def test_04_ten_attempts_then_given_up_and_the_next_message_has_its_turn(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    receiver.answers = [reply(500)] * 10
    await bench.read_risk(assessed(1, 0), assessed(2, 5, "low", last_purchase_at=day(4)))
    async with running(await bench.sender()):
        for attempt in range(1, 10):
            await until(bench.engine, STATUS, ("pending", attempt), ("pending", 0))
            bench.clock.pass_by(timedelta(seconds=DELAYS_S[attempt] * 1.2))
        await until(bench.engine, STATUS, ("failed", 10), ("delivered", 1))
    assert [r.type for r in receiver.requests] == ["retention_task.opened"] * 10 + [
        "retention_task.closed"
    ]


async def test_06_410_switches_the_endpoint_off_until_an_operator_says_otherwise(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    receiver.answers = [reply(410)]
    async with running(await bench.sender()):
        await bench.read_risk(assessed(1, 0))
        await until(bench.engine, "SELECT disabled_reason FROM alerts.endpoint",
                    ("answered 410 Gone",))  # fmt: skip
        await bench.read_risk(assessed(1, 0, customer_id="c-2"))
        bench.clock.pass_by(timedelta(seconds=86_400 * 30))
        await until(bench.engine, STATUS, ("pending", 1), ("pending", 0))
        await bench.__aenter__()  # registers its endpoints, as a restart does
        assert len(receiver.requests) == 1
        await bench.admin.enable("crm")
        await until(bench.engine, STATUS, ("delivered", 2), ("delivered", 1))


async def test_05_a_redirect_is_never_followed(bench: AlertsHarness, receiver: Receiver) -> None:
    async with receiving() as elsewhere:
        receiver.answers = [
            reply(status, location=elsewhere.url) for status in (301, 302, 303, 307, 308)
        ]
        await bench.read_risk(assessed(1, 0))
        async with running(await bench.sender()):
            for attempt in range(1, 6):
                await until(bench.engine, STATUS, ("pending", attempt))
                bench.clock.pass_by(timedelta(seconds=86_400))
            await until(bench.engine, STATUS, ("delivered", 6))
        assert elsewhere.requests == []
    statuses = await rows(
        bench.engine, "SELECT response_status FROM alerts.attempt ORDER BY number"
    )
    assert statuses == [(301,), (302,), (303,), (307,), (308,), (204,)]


async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
    """Promise an answer and send a byte of it now and then."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def truncated(_: Request, writer: asyncio.StreamWriter) -> None:
    """Answer with success and break off in the body."""
    writer.write(b"HTTP/1.1 202 OK\r\ncontent-length: 1000\r\n\r\nabc")
    await writer.drain()
    writer.close()


async def test_07_no_answer_in_time_is_a_failure_and_the_wait_at_least_a_minute(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    """A receiver that hangs and one that drips its header: each answer has a total time limit."""
    receiver.answers = [hang, drip, reset]
    await bench.read_risk(assessed(1, 0))
    async with running(await bench.sender(timeout_s=0.5)):
        await until(bench.engine, STATUS, ("pending", 1))
        ((wait,),) = await rows(bench.engine, "SELECT next_at FROM alerts.delivery")
        assert wait - WALL_0 == timedelta(seconds=60)
        for attempt in (2, 3):
            bench.clock.pass_by(timedelta(seconds=86_400))
            await until(bench.engine, STATUS, ("pending", attempt))
        bench.clock.pass_by(timedelta(seconds=86_400))
        await until(bench.engine, STATUS, ("delivered", 4))
    errors = [
        e for (e,) in await rows(bench.engine, "SELECT error FROM alerts.attempt ORDER BY number")
    ]
    assert errors[:2] == ["not answered in full within 0.5 s"] * 2
    assert errors[2].startswith("the connection broke")


async def test_07_the_answer_is_read_only_in_part(bench: AlertsHarness, receiver: Receiver) -> None:
    """Huge, truncated and binary bodies: the status counts, and the log stays small."""
    receiver.answers = [reply(200, b"\0\xff" * 5_000_000), truncated]
    await bench.read_risk(assessed(1, 0), assessed(1, 0, customer_id="c-2"))
    async with running(await bench.sender(concurrency_max=1)):
        await until(bench.engine, STATUS, ("delivered", 1), ("delivered", 1))
    heads = [h for (h,) in await rows(bench.engine, "SELECT response_head FROM alerts.attempt "
                                      "ORDER BY length(response_head)")]  # fmt: skip
    assert heads[0] == "abc"
    assert len(heads[1]) == 20_000


async def test_a_look_goes_on_only_where_something_is_due_or_an_endpoint_changed(
    bench: AlertsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement finds at once what this process did not announce itself."""
    turns = []
    whole = DeliverySender._settle_and_claim

    async def noted(self: DeliverySender) -> None:
        turns.append(1)
        await whole(self)

    monkeypatch.setattr(DeliverySender, "_settle_and_claim", noted)
    sender = await bench.sender()

    async def looks() -> bool:
        turns.clear()
        await sender.iterate(announced=False)
        return bool(turns)

    assert await looks()  # it knows no endpoint yet
    assert not await looks()
    await bench.read_risk(assessed(1, 0))
    assert await looks()
    claimed = "SELECT token IS NOT NULL FROM alerts.delivery"
    assert await rows(bench.engine, claimed) == [(True,)]
    await sender._drain()
    assert await looks()  # settled by the drain, but not forgotten
    assert not await looks()
    for change in ("paused_at = now()", "paused_at = NULL", "version = version + 1"):
        await execute(bench, f"UPDATE alerts.endpoint SET {change}")  # noqa: S608 (ours)
        assert await looks()
        assert not await looks()
    await execute(bench, "UPDATE alerts.delivery SET status = 'pending', next_at = 'infinity'")
    assert not await looks()


async def execute(bench: AlertsHarness, statement: str) -> None:
    async with unit_of_work(bench.engine) as work:
        await work.driver.execute(statement)


async def test_messages_of_one_customer_keep_their_order(
    bench: AlertsHarness, receiver: Receiver
) -> None:
    """The message about a task's end waits for the one about its start; other customers go on."""
    receiver.answers = [reply(500)]
    await bench.read_risk(assessed(1, 0))
    async with running(await bench.sender()):
        await until(bench.engine, STATUS, ("pending", 1))
        await bench.read_risk(assessed(2, 5, "low", last_purchase_at=day(4)))
        await bench.read_risk(assessed(1, 0, customer_id="c-2"))
        await until(bench.engine, STATUS, ("pending", 1), ("pending", 0), ("delivered", 1))
        bench.clock.pass_by(timedelta(seconds=6))
        await until(bench.engine, STATUS, ("delivered", 2), ("delivered", 1), ("delivered", 1))
    ours = [r.type for r in receiver.requests if b"c-2" not in r.body]
    assert ours == ["retention_task.opened"] * 2 + ["retention_task.closed"]


async def test_03_two_workers_one_delivery(bench: AlertsHarness, receiver: Receiver) -> None:
    await bench.read_risk(*(assessed(1, 0, customer_id=f"c-{n}") for n in range(300)))
    async with running(await bench.sender()), running(await bench.sender()):
        await until(bench.engine, "SELECT count(*) FROM alerts.delivery WHERE status = 'delivered'",
                    (300,))  # fmt: skip
    assert len(receiver.requests) == 300


async def test_every_endpoint_gets_the_message_and_a_dead_one_delays_no_other(
    engine: AsyncEngine, receiver: Receiver
) -> None:
    async with (
        receiving() as dead,
        AlertsHarness(engine, endpoints={"crm": receiver.url, "erp": dead.url}) as bench,
    ):
        dead.otherwise = reply(503)
        await bench.read_risk(assessed(1, 0))
        async with running(await bench.sender()):
            await bench.read_risk(assessed(2, 5, "low", last_purchase_at=day(4)))
            await until(engine, "SELECT endpoint_id, status FROM alerts.delivery ORDER BY 1, seq",
                        ("crm", "delivered"), ("crm", "delivered"),
                        ("erp", "pending"), ("erp", "pending"))  # fmt: skip
        assert len({r.id for r in receiver.requests + dead.requests}) == 3


async def test_a_worker_whose_lease_ran_out_settles_nothing(bench: AlertsHarness) -> None:
    """The worker logs its attempt; the new holder of the lease settles the delivery."""
    await bench.read_risk(assessed(1, 0))
    late = await claim(bench)
    bench.clock.pass_by(timedelta(seconds=61))
    holder = await claim(bench)
    assert late.id == holder.id
    await settle(bench, late, "failed")
    assert await rows(bench.engine, STATUS) == [("pending", 0)]
    await settle(bench, holder, "delivered")
    assert await rows(bench.engine, STATUS) == [("delivered", 1)]
    assert len(await rows(bench.engine, "SELECT 1 FROM alerts.attempt")) == 2


async def claim(bench: AlertsHarness) -> Leased:
    now = bench.clock.now()
    async with unit_of_work(bench.engine) as work:
        (leased,) = await Deliveries().claim(work, {"crm": 100}, now, now + timedelta(seconds=60))
    return leased


async def settle(bench: AlertsHarness, leased: Leased, outcome: str) -> None:
    now = bench.clock.now()
    done = Attempted(leased, now, now, Answer("ok", 200), outcome, None)  # type: ignore[arg-type]
    async with unit_of_work(bench.engine) as work:
        await Deliveries().settle(work, [done])


async def test_followers_wait_with_their_leader_and_are_due_with_it(bench: AlertsHarness) -> None:
    """Otherwise the queue would be searched repeatedly through messages that cannot be sent yet."""
    await bench.read_risk(assessed(1, 0), assessed(2, 5, "low", last_purchase_at=day(4)))
    leader = await claim(bench)
    later = WALL_0 + timedelta(hours=5)
    failed = Attempted(leader, WALL_0, WALL_0, Answer("retry", 500), "retry", later)
    async with unit_of_work(bench.engine) as work:
        await Deliveries().settle(work, [failed])
    due = "SELECT next_at FROM alerts.delivery ORDER BY seq"
    assert await rows(bench.engine, due) == [(later,), (later,)]
    bench.clock.pass_by(timedelta(seconds=5 * 3600))
    await settle(bench, await claim(bench), "delivered")
    follower = await claim(bench)
    assert follower.id != leader.id
