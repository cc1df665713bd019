"""Invariant 10 on a real database, with everything at once from several replicas."""

import asyncio
import random
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import read
from services.alerts.core.task_lifecycle import Acknowledge, Closed409, Dismiss
from services.alerts.ports import VerdictGiven
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from tests.integration.alerts.harness import AlertsHarness, outbox, rows
from tests.unit.alerts.samples import SILENT, assessed, day

pytestmark = pytest.mark.stack

CUSTOMERS = [f"c-{n}" for n in range(40)]
ROUNDS = 6
CAUSES = ("silence_beyond_rhythm", "complaint_open", "frequency_falling")


async def test_one_open_task_of_a_customer_and_cause_whatever_races(engine: AsyncEngine) -> None:
    """Assessments in two replicas, purchases, verdicts, dismissals and timers in two replicas."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as bench:
        bench.policy = read(
            {"name": "test", "cooldown_days": 0, "open_tasks_max": 3, "expire_days": 25,
             "playbooks": [{"id": "p", "response_hours": 1}]}
        )  # fmt: skip
        bench.clock.at = day(0)
        await asyncio.gather(
            risks(bench, seed=1, topic="risk"),
            risks(bench, seed=2, topic="risk-2"),
            purchases(bench),
            owners(bench, seed=3),
            owners(bench, seed=4),
            timers(bench),
            timers(bench),
            law(bench),
        )
        await law(bench, looks=1)
        tasks = await rows(engine, "SELECT id, status FROM alerts.task")
        facts = await outbox(engine)
        ended = [f.task_id for f in facts if f.kind == "task_closed"]
        assert len(tasks) > len(CUSTOMERS)
        assert sorted(f.task_id or "" for f in facts if f.kind == "task_raised") == sorted(
            task for task, _ in tasks
        )
        assert len(ended) == len(set(ended))
        assert set(ended) == {task for task, status in tasks if status == "closed"}
        reported = await rows(engine, "SELECT id FROM alerts.delivery")
        assert len(reported) == len(set(reported))


async def risks(bench: AlertsHarness, seed: int, topic: str) -> None:
    chance = random.Random(seed)  # noqa: S311 (an order, not a secret)
    for revision in range(ROUNDS * 2):
        reason = msgspec.structs.replace(SILENT, code=CAUSES[(revision + seed) % len(CAUSES)])
        batch = [
            assessed(revision, revision * 5.0, "high" if revision % 2 == 0 else "low",
                     customer_id=c, last_purchase_at=None, reasons=[reason])
            for c in CUSTOMERS
        ]  # fmt: skip
        chance.shuffle(batch)
        values = [msgspec.json.encode(message) for message in batch]
        await bench.assess()(await bench.batch(topic, values))


async def purchases(bench: AlertsHarness) -> None:
    for at in range(ROUNDS):
        await bench.read_activity(
            *(
                Activity(specversion="1.0", id=f"{c}-{at}", source="/t", type=events.PURCHASE,
                         time=day(at * 10 + 3), subject=c, data=ActivityData(amount=1.0))
                for c in CUSTOMERS[::3]
            )
        )  # fmt: skip


async def owners(bench: AlertsHarness, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    act, give = bench.act(), bench.give_verdict()
    for _ in range(ROUNDS):
        found = await rows(bench.engine, "SELECT id FROM alerts.task WHERE status = 'open'")
        for (task_id,) in chance.sample(found, min(8, len(found))):
            choice = chance.randrange(3)
            try:
                if choice == 0:
                    await give(VerdictGiven(task_id, "reached", None))
                else:
                    await act(task_id, (Acknowledge(), Dismiss("no"))[choice - 1], f"o-{seed}")
            except Closed409:
                continue  # another one was faster
        await asyncio.sleep(0)


async def timers(bench: AlertsHarness) -> None:
    tend = bench.tend()
    for _ in range(ROUNDS):
        bench.clock.pass_by(timedelta(days=3))
        await tend.iterate()


async def law(bench: AlertsHarness, looks: int = 20) -> None:
    for _ in range(looks):
        twice = await rows(
            bench.engine,
            "SELECT customer_id, cause FROM alerts.task WHERE status = 'open' "
            "GROUP BY 1, 2 HAVING count(*) > 1",
        )
        assert twice == []
        await asyncio.sleep(0.01)
