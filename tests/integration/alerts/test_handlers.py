"""Handlers on a real database: both topics at once, replays, verdicts of owners."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.alerts.core.policy import CustomerState, WarnedCause
from services.alerts.core.task import Task
from services.alerts.handlers.give_verdict import Conflict
from services.alerts.ports import VerdictGiven
from services.alerts.store import customers as customer_store
from shared.contracts import events, risk
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.events import Owner, Profile
from shared.kernel.errors import Transient
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Fenced
from tests.integration.alerts.harness import (
    WALL_0,
    AlertsHarness,
    outbox,
    rows,
)
from tests.unit.alerts.samples import assessed, day, sign

pytestmark = pytest.mark.stack


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide one endpoint without a sender."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as made:
        yield made


def event(kind: str, customer: str, at: float, data: ActivityData | None = None) -> Activity:
    return Activity(
        specversion="1.0", id=f"{customer}-{at}", source="/test", type=kind, time=day(at),
        subject=customer, data=data or ActivityData(),
    )  # fmt: skip


def bought(customer: str, at: float) -> Activity:
    return event(events.PURCHASE, customer, at)


async def test_both_topics_at_once_on_the_same_customers(bench: AlertsHarness) -> None:
    """Invariant 10 under any interleaving: row locks in key order, no deadlock, no second task.

    In any order, a customer who bought after the warning has a closed task, published once.
    """
    chance = random.Random(7)  # noqa: S311 (an order, not a secret)
    customers = [f"c-{n}" for n in range(60)]
    assess, observe = bench.assess(), bench.observe()

    async def risks() -> None:
        for revision in range(8):
            batch = [assessed(revision, revision * 5.0, customer_id=c,
                              band="high" if revision % 2 == 0 else "low",
                              signs=[sign("silence_beyond_rhythm")],
                              last_purchase_at=None) for c in customers]  # fmt: skip
            chance.shuffle(batch)
            await bench.read_risk(*batch, *batch[:10], handle=assess)

    async def purchases() -> None:
        for at in range(10):
            batch = [bought(c, at + 0.5) for c in customers[: len(customers) // 2]]
            chance.shuffle(batch)
            await bench.read_activity(*batch, handle=observe)

    await asyncio.gather(risks(), purchases())
    tasks = await rows(
        bench.engine, "SELECT customer_id, status FROM alerts.task ORDER BY customer_id, episode"
    )
    back = set(customers[: len(customers) // 2])
    first = dict(reversed(tasks))
    assert first == {c: "closed" if c in back else "open" for c in customers}
    open_now = [customer for customer, status in tasks if status == "open"]
    assert len(open_now) == len(set(open_now))
    facts = await outbox(bench.engine)
    assert len({(f.kind, f.task_id) for f in facts}) == len(facts)
    assert len([f for f in facts if f.kind == "task_raised"]) == len(tasks)


async def test_known_and_unknown_customers_are_locked_and_read_alike(bench: AlertsHarness) -> None:
    """A stored customer is read back whole, also beside one that is created in the same batch."""
    state = CustomerState(
        "ann", 3, "high", 0.5, 60.0, "USD", 28, "vip",
        (WarnedCause("complaint_open", day(1)), WarnedCause("value_falling", day(2), armed=True)),
        day(1), (day(2), day(3)), 2, day(5), "price", day(4),
    )  # fmt: skip
    bare = replace(CustomerState("bob"), purchased_at=day(1))
    async with unit_of_work(bench.engine) as work:
        first = await customer_store.lock(work, ["bob", "ann"])
        assert {name: known.state for name, known in first.items()} == {
            "ann": CustomerState("ann"),
            "bob": CustomerState("bob"),
        }
        await customer_store.write(work, [bare, state], first)
    async with unit_of_work(bench.engine) as work:
        found = await customer_store.lock(work, ["new", "ann", "bob"])
        later = replace(
            state, revision=4, band="low", probability=0.1, value_at_risk=1.0, purchased_at=day(6)
        )
        after = replace(bare, warned=(WarnedCause("churned", day(4)),), recent=(day(4),))
        await customer_store.write(work, [later, after], found)
    assert [found[name].state for name in ("ann", "bob")] == [state, bare]
    assert found["new"].state == CustomerState("new")
    async with unit_of_work(bench.engine) as work:
        found = await customer_store.lock(work, ["ann", "bob"])
    assert [found[name].state for name in ("ann", "bob")] == [later, after]


async def test_a_purchase_that_comes_with_profiles_is_noted_and_closes(
    bench: AlertsHarness,
) -> None:
    """It has the effect of a purchase that comes alone."""
    await bench.read_risk(assessed(1, 0), assessed(1, 0, customer_id="c-2", band="low"))
    data = ActivityData(profile=Profile(name="Ann"))
    await bench.read_activity(
        event(events.PROFILE, "c-1", 2, data), bought("c-1", 3), bought("c-1", 1), bought("c-2", 4)
    )
    stored = "SELECT purchased_at, profile ->> 'name' FROM alerts.customer ORDER BY customer_id"
    assert await rows(bench.engine, stored) == [(day(3), "Ann"), (day(4), None)]
    assert await rows(bench.engine, "SELECT closed_at FROM alerts.task") == [(day(3),)]


@pytest.mark.parametrize("first", ["purchase", "assessment"])
async def test_a_purchase_and_an_assessment_of_one_customer_follow_one_another(
    bench: AlertsHarness, first: str
) -> None:
    """The second handler waits for the customer's row, then sees the first one's changes."""
    known, purchase = assessed(1, 0), bought("c-1", 3)
    await bench.read_risk(assessed(0, -1, band="low"))
    turns = {"purchase": bench.read_activity(purchase), "assessment": bench.read_risk(known)}
    async with unit_of_work(bench.engine) as work:
        # Both queue behind this lock, in the order of arrival.
        await work.driver.execute("SELECT FROM alerts.customer FOR UPDATE")
        running = []
        for name in sorted(turns, key=lambda name: name != first):
            running.append(asyncio.create_task(turns[name]))
            while not await work.driver.fetchval(  # noqa: ASYNC110 (no event to wait for)
                "SELECT count(DISTINCT pid) = $1 FROM pg_locks WHERE NOT granted",
                len(running),
            ):
                await asyncio.sleep(0.01)
    await asyncio.gather(*running)
    assert await rows(bench.engine, "SELECT status, closed_at FROM alerts.task") == [
        ("closed", day(3))
    ]
    assert await rows(bench.engine, "SELECT purchased_at, revision FROM alerts.customer") == [
        (day(3), 1)
    ]


async def test_the_same_tasks_whichever_topic_is_read_first(bench: AlertsHarness) -> None:
    """A task ends at the first purchase after it was opened, however many are known by then."""
    after = [bought(c, at) for at in (-1, 3, 11) for c in ("c-1", "c-2")]
    await bench.read_activity(*after[::2])
    await bench.read_risk(assessed(1, 0), assessed(1, 0, customer_id="c-2"))
    await bench.read_activity(*after[1::2])
    tasks = await rows(
        bench.engine,
        "SELECT status, version, opened_at, closed_at, close_reason FROM alerts.task",
    )
    assert tasks == [("closed", 2, day(0), day(3), "came_back")] * 2
    newest = await rows(bench.engine, "SELECT purchased_at FROM alerts.customer")
    assert newest == [(day(11),)] * 2
    reported = await rows(
        bench.engine, "SELECT kind FROM alerts.delivery ORDER BY customer_id, seq"
    )
    assert [kind for (kind,) in reported] == ["retention_task.opened", "retention_task.closed"] * 2


async def test_a_purchase_known_first_from_an_assessment_ends_the_task(
    bench: AlertsHarness,
) -> None:
    """The purchase's own event has not been read yet. A refund is no purchase."""
    await bench.read_risk(assessed(1, 0))
    await bench.read_activity(event(events.REFUND, "c-1", 2, ActivityData(amount=1.0)))
    await bench.read_risk(assessed(2, 5, "low", last_purchase_at=day(4)))
    assert await rows(bench.engine, "SELECT closed_at FROM alerts.task") == [(day(4),)]


async def test_task_ids_are_the_same_in_a_second_replay(bench: AlertsHarness) -> None:
    ids = []
    for _ in range(2):
        await bench.read_risk(assessed(1, 0), assessed(1, 0, customer_id="c-2"))
        ids.append(await rows(bench.engine, "SELECT id FROM alerts.task ORDER BY 1"))
        ids.append(await rows(bench.engine, "SELECT id FROM alerts.delivery ORDER BY 1"))
        await empty(bench)
    assert ids[:2] == ids[2:]


async def empty(bench: AlertsHarness) -> None:
    async with bench.engine.begin() as connection:
        await connection.exec_driver_sql(
            "TRUNCATE alerts.customer, alerts.task, alerts.delivery, alerts.outbox, alerts.trial, "
            "alerts.assessment"
        )


async def test_a_fenced_worker_writes_nothing(bench: AlertsHarness) -> None:
    """Checks invariant 2."""
    stale = await bench.batch("risk", [risk.ENCODER.encode(assessed(1, 0))])
    await bench.batch("risk", [])
    with pytest.raises(Fenced):
        await bench.assess()(stale)
    assert await rows(bench.engine, "SELECT 1 FROM alerts.task") == []
    assert await rows(bench.engine, "SELECT 1 FROM alerts.customer") == []


async def test_the_newest_profile_stands_whatever_the_order(bench: AlertsHarness) -> None:
    def profile(name: str, at: float) -> Activity:
        data = ActivityData(profile=Profile(name=name, owner=Owner(id=name)))
        return event(events.PROFILE, "c-1", at, data)

    await bench.read_activity(profile("new", 2), profile("old", 1))
    await bench.read_activity(profile("older", 0))
    await bench.read_risk(assessed(1, 3))
    assert await rows(bench.engine, "SELECT owner_id, customer_name FROM alerts.task") == [
        ("new", "new")
    ]


async def test_a_verdict_closes_the_task_and_is_published_once(bench: AlertsHarness) -> None:
    """R27: the owner made contact, and the verdict is recorded."""
    await bench.read_risk(assessed(1, 0))
    ((task_id,),) = await rows(bench.engine, "SELECT id FROM alerts.task")
    give = bench.give_verdict()
    spoken = VerdictGiven(task_id, "reached", "will order next week")
    results = await asyncio.gather(*(give(spoken) for _ in range(5)))
    for result in results:
        assert isinstance(result, Task)
        assert (result.status, result.close_reason, result.version) == ("closed", "verdict", 2)
        assert result.closed_at == WALL_0
    conflict = await give(VerdictGiven(task_id, "wrong_alarm", None))
    assert isinstance(conflict, Conflict)
    assert await give(VerdictGiven("rt_none", "reached", None)) is None
    assert [(f.kind, f.detail) for f in await outbox(bench.engine)] == [
        ("task_raised", None),
        ("task_closed", "verdict"),
        ("verdict", "reached"),
    ]
    assert len(await rows(bench.engine, "SELECT 1 FROM alerts.delivery")) == 2


async def test_a_task_that_closed_by_itself_may_still_get_a_verdict(bench: AlertsHarness) -> None:
    await bench.read_risk(assessed(1, 0))
    await bench.read_activity(bought("c-1", 1))
    ((task_id,),) = await rows(bench.engine, "SELECT id FROM alerts.task")
    result = await bench.give_verdict()(VerdictGiven(task_id, "reached", None))
    assert isinstance(result, Task)
    assert (result.close_reason, result.verdict, result.version) == ("came_back", "reached", 2)
    assert [f.kind for f in await outbox(bench.engine)] == ["task_raised", "task_closed", "verdict"]
    assert len(await rows(bench.engine, "SELECT 1 FROM alerts.delivery")) == 2


async def test_in_a_replay_the_ticks_say_when_an_owner_spoke(bench: AlertsHarness) -> None:
    """Checks invariant 4."""
    await bench.read_risk(assessed(1, 0))
    tick = Activity(specversion="1.0", id="t", source="/test", type=events.TICK, time=day(9))
    await bench.read_activity(tick, bought("c-2", 8))
    ((task_id,),) = await rows(bench.engine, "SELECT id FROM alerts.task")
    result = await bench.give_verdict(replay=True)(VerdictGiven(task_id, "leaving", None))
    assert isinstance(result, Task)
    assert result.closed_at == day(9)


async def test_created_by_the_wall_opened_by_the_business(bench: AlertsHarness) -> None:
    bench.clock.pass_by(timedelta(seconds=3600))
    await bench.read_risk(assessed(1, 0))
    assert await rows(bench.engine, "SELECT opened_at, due_at, created_at FROM alerts.task") == [
        (day(0), day(3), WALL_0 + timedelta(hours=1))
    ]


async def test_a_lost_database_is_transient(bench: AlertsHarness) -> None:
    """The worker loop retries it; nothing is half done."""
    batch = await bench.batch("risk", [risk.ENCODER.encode(assessed(1, 0))])
    async with bench.engine.begin() as blocking:
        await blocking.exec_driver_sql("LOCK TABLE alerts.task IN ACCESS EXCLUSIVE MODE")
        handling = asyncio.create_task(bench.assess()(batch))
        while not await _end_waiting(blocking):  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.01)
        with pytest.raises(Transient):
            await handling
    assert await rows(bench.engine, "SELECT 1 FROM alerts.customer") == []
    await bench.assess()(batch)
    assert len(await rows(bench.engine, "SELECT 1 FROM alerts.task")) == 1


async def _end_waiting(connection: AsyncConnection) -> bool:
    """End the session that waits for the table of tasks; return False when there is none yet."""
    ended = await connection.exec_driver_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks "
        "WHERE NOT granted AND relation = 'alerts.task'::regclass"
    )
    return bool(ended.all())
