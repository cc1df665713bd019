"""Tasks and purchases follow customers that become one, and go back when they come apart."""

from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import read
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.changes import CustomerChanged, IdentityKind
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.unit.alerts.samples import SILENT, assessed, day

pytestmark = [pytest.mark.stack, pytest.mark.identity]

POLICY = read({"name": "test", "open_tasks_max": 3, "playbooks": [{"id": "p"}]})
TASKS = (
    "SELECT customer_id, cause, status, close_reason FROM alerts.task ORDER BY customer_id, cause"
)


def change(kind: IdentityKind, customer: str = "mo-card") -> CustomerChanged:
    """Build the message about `customer` and the customer that it is part of."""
    return CustomerChanged(
        customer_id=customer, sequence=0, kind=kind, at=day(21), primary_id="mo-web"
    )


async def silent(bench: AlertsHarness, revision: int, customer: str, *causes: str) -> None:
    """Let a customer be assessed with these signs."""
    for n, cause in enumerate(causes):
        reason = msgspec.structs.replace(SILENT, code=cause)
        message = assessed(
            revision + n, 20, "high", customer_id=customer, last_purchase_at=None, reasons=[reason]
        )
        await bench.assess()(await bench.batch("risk", [msgspec.json.encode(message)]))


def bought(customer: str, name: str, at: float) -> Activity:
    """Build a purchase."""
    return Activity(
        specversion="1.0", id=name, source="shop", type=events.PURCHASE, time=day(at),
        subject=customer, data=ActivityData(amount=10.0),
    )  # fmt: skip


async def delivered(engine: AsyncEngine) -> list[tuple[str, str]]:
    """Return the kind and the customer of each message to the CRM, in order."""
    found = await rows(engine, "SELECT body FROM alerts.delivery ORDER BY created_at, id")
    bodies: list[Any] = [msgspec.json.decode(body) for (body,) in found]
    return [(b["type"], b["data"]["task"]["customer"]["id"]) for b in bodies]


async def test_a_task_moves_and_its_double_closes(engine: AsyncEngine) -> None:
    """One open task per cause: the survivor's stays, the other closes as merged; a third moves."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as bench:
        bench.policy = POLICY
        bench.clock.at = day(20)
        await silent(bench, 1, "mo-web", "silence_beyond_rhythm")
        await silent(bench, 1, "mo-card", "silence_beyond_rhythm")
        await bench.read_changes(change("customer_merged"))
        tasks = await rows(engine, TASKS)
        assert [tuple(t) for t in tasks] == [
            ("mo-card", "silence_beyond_rhythm", "closed", "merged"),
            ("mo-web", "silence_beyond_rhythm", "open", None),
        ]
        sent = await delivered(engine)
        assert ("retention_task.closed", "mo-card") in sent


async def test_a_task_moves_and_goes_back(engine: AsyncEngine) -> None:
    """The CRM is told the task's new customer, and its old one again after the undo."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as bench:
        bench.policy = POLICY
        bench.clock.at = day(20)
        await silent(bench, 1, "mo-card", "silence_beyond_rhythm")
        await bench.read_activity(bought("mo-card", "o-1", 1), bought("mo-web", "o-2", 2))
        await bench.read_changes(change("customer_merged"), change("customer_merged"))
        assert [tuple(t)[:3] for t in await rows(engine, TASKS)] == [
            ("mo-web", "silence_beyond_rhythm", "open")
        ]
        assert (await delivered(engine))[-1] == ("retention_task.updated", "mo-web")
        purchases = "SELECT id FROM alerts.purchase WHERE customer_id = 'mo-web' ORDER BY id"
        assert [i for (i,) in await rows(engine, purchases)] == ["o-1", "o-2"]

        await bench.read_changes(change("customer_unmerged"), change("customer_unmerged"))
        assert [tuple(t)[:3] for t in await rows(engine, TASKS)] == [
            ("mo-card", "silence_beyond_rhythm", "open")
        ]
        assert [i for (i,) in await rows(engine, purchases)] == ["o-2"]
        trials = await rows(engine, "SELECT customer_id FROM alerts.trial")
        assert [c for (c,) in trials] == ["mo-card"]


async def test_an_assessment_of_a_merged_id_raises_nothing(engine: AsyncEngine) -> None:
    """It was published before the merge and is read after it."""
    async with AlertsHarness(engine) as bench:
        bench.policy = POLICY
        bench.clock.at = day(20)
        await bench.read_changes(change("customer_merged"))
        await silent(bench, 1, "mo-card", "silence_beyond_rhythm")
        assert await rows(engine, TASKS) == []
