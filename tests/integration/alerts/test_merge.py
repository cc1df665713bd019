"""Tasks and purchases follow customers that become one, and go back when they come apart."""

from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import read
from services.alerts.store.export import export_of
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


async def test_groups_become_one_and_come_apart_in_any_order(engine: AsyncEngine) -> None:
    """A phone of the card, the card of the web account; messages of the ids are read in any order.

    What came with the phone goes back to it, wherever it was last."""
    phone = change("customer_merged", "mo-phone")
    phone = msgspec.structs.replace(phone, primary_id="mo-card")
    for first, second in ((phone, change("customer_merged")), (change("customer_merged"), phone)):
        async with AlertsHarness(engine) as bench:
            bench.policy = POLICY
            bench.clock.at = day(20)
            mark = f"o-{first.customer_id}"
            await bench.read_activity(bought("mo-phone", mark, 1), bought("mo-card", mark + "c", 2))
            await bench.read_changes(first)
            await bench.read_changes(second)
            part_of = "SELECT customer_id, part_of FROM alerts.customer ORDER BY 1"
            assert [tuple(r) for r in await rows(engine, part_of)] == [
                ("mo-card", "mo-web"), ("mo-phone", "mo-web"), ("mo-web", None)
            ]  # fmt: skip
            await bench.read_changes(change("customer_unmerged", "mo-phone"))
            await bench.read_changes(change("customer_unmerged"))
            kept = await rows(engine, "SELECT customer_id, id FROM alerts.purchase ORDER BY 1")
            assert [tuple(row) for row in kept if row[1].startswith(mark)] == [
                ("mo-card", mark + "c"), ("mo-phone", mark)
            ]  # fmt: skip
            assert {of for _, of in await rows(engine, part_of)} == {None}


async def test_the_primary_id_changes(engine: AsyncEngine) -> None:
    """The other way round, before the former end was read, which is in another partition."""
    async with AlertsHarness(engine) as bench:
        await bench.read_changes(change("customer_merged"))
        back = msgspec.structs.replace(change("customer_merged", "mo-web"), primary_id="mo-card")
        await bench.read_changes(back)
        await bench.read_changes(change("customer_unmerged"))
        part_of = "SELECT customer_id, part_of FROM alerts.customer ORDER BY 1"
        assert [tuple(r) for r in await rows(engine, part_of)] == [
            ("mo-card", None), ("mo-web", "mo-card")
        ]  # fmt: skip


async def test_an_order_under_both_ids_stays_with_both(engine: AsyncEngine) -> None:
    """A guest order sent again under the account: once while they are one, each its own after."""
    async with AlertsHarness(engine) as bench:
        await bench.read_activity(bought("mo-card", "o-1", 1), bought("mo-web", "o-1", 1))
        await bench.read_changes(change("customer_merged"))
        await bench.read_changes(change("customer_unmerged"))
        kept = "SELECT customer_id, id FROM alerts.purchase ORDER BY 1"
        assert [tuple(r) for r in await rows(engine, kept)] == [
            ("mo-card", "o-1"), ("mo-web", "o-1")
        ]  # fmt: skip


async def test_an_entry_of_a_merged_id_raises_nothing(engine: AsyncEngine) -> None:
    """It was published before the merge, and is read after it."""
    async with AlertsHarness(engine) as bench:
        bench.policy = POLICY
        entered = CustomerChanged(
            customer_id="mo-card", sequence=1, kind="segment_entered", at=day(20), segment="vip",
            segment_version=1, action="p",
        )  # fmt: skip
        await bench.read_changes(change("customer_merged"), entered)
        assert await rows(engine, TASKS) == []


async def test_an_export_has_the_rows_of_all_ids(engine: AsyncEngine) -> None:
    """By any id; after the undo only its own."""
    async with AlertsHarness(engine) as bench:
        await bench.read_activity(bought("mo-card", "o-1", 1), bought("mo-web", "o-2", 2))
        await bench.read_changes(change("customer_merged"))

        async def ids(asked: str) -> set[str]:
            read = export_of(engine).rows(asked)
            return {row["customer_id"] async for name, row in read if name == "purchase"}

        assert await ids("mo-card") == await ids("mo-web") == {"mo-card", "mo-web"}
        await bench.read_changes(change("customer_unmerged"))
        assert await ids("mo-card") == {"mo-card"}
        assert await ids("mo-web") == {"mo-web"}


@pytest.mark.erasure
async def test_a_contact_is_given_and_takes_along_only_its_own(engine: AsyncEngine) -> None:
    """In an export and in an erasure: the account and its other contacts are others."""
    async with AlertsHarness(engine) as bench:
        late = bought("mo-card", "o-2", 2)
        await bench.read_activity(bought("mo-web", "o-1", 1), late, bought("else", "o-3", 3))
        for contact in ("mo-card", "else"):
            joined = msgspec.structs.replace(change("customer_merged"), customer_id=contact)
            await bench.read_changes(msgspec.structs.replace(joined, contact=True))

        async def orders(asked: str) -> set[str]:
            read = export_of(engine).rows(asked)
            return {row["id"] async for name, row in read if name == "purchase"}

        assert await orders("mo-card") == {"o-2"}
        assert await orders("mo-web") == {"o-1", "o-2", "o-3"}
        forget = msgspec.structs.replace(late, id="r-1", type=events.ERASURE, time=day(4))
        await bench.read_activity(forget)
        assert await orders("mo-card") == set()
        assert await orders("mo-web") == {"o-1", "o-3"}


async def test_a_late_purchase_of_another_id_ends_a_false_task(engine: AsyncEngine) -> None:
    """Its partition lagged, so the customer seemed silent: the forwarded purchase ends the task."""
    async with AlertsHarness(engine) as bench:
        bench.policy = POLICY
        bench.clock.at = day(20)
        await bench.read_changes(change("customer_merged"))
        await silent(bench, 1, "mo-web", "silence_beyond_rhythm")
        late = bought("mo-card", "o-1", 21)
        await bench.read_activity(
            late, msgspec.structs.replace(late, subject="mo-web", originalsubject="mo-card")
        )
        assert [tuple(t)[2:] for t in await rows(engine, TASKS)] == [("closed", "came_back")]
