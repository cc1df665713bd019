"""What is kept of customers with several ids: rebuilt, erased, trained on, read, bounded."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.events import Kind
from services.scoring.core.features.state import from_bytes
from services.scoring.handlers.link_customers import STATEMENTS_MAX
from services.scoring.handlers.rebuild import rebuild
from services.scoring.store import identity_tables  # noqa: F401 (adds its tables to `metadata`)
from services.scoring.store.erasure import CustomerErasure
from services.scoring.store.export import export_of
from services.scoring.store.history import HistoryReader
from services.scoring.store.identity_queries import IdentityQueries
from services.scoring.store.rebuild import Rebuilding
from shared.contracts.activity import DECODER
from shared.postgres.engine import unit_of_work
from tests.fakes.activity import day
from tests.fakes.scoring_worker import DEAD, TOPIC
from tests.integration.scoring.identity_cluster import (
    PARTITIONS,
    Cluster,
    assert_customers,
    customers,
    home,
)
from tests.integration.scoring.postgres import table

pytestmark = [pytest.mark.stack, pytest.mark.identity]

A, B = "mo-web", "mo-card"
"""Two ids at home in different partitions."""


async def test_states_are_rebuilt_with_their_ids(engine: AsyncEngine) -> None:
    """After an upgrade a customer and its own states are made anew; an undo still holds.

    A guest order sent under both ids counts once in the customer, and once in each alone."""
    c = Cluster(engine)
    for at in (1, 8, 15):
        c.buys(A, at)
        c.buys(B, at + 3)
    for name in (A, B):
        c.buys(name, 5, "guest-1", 30)
    await c.drain()
    c.says(A, B, primary=A)
    await c.drain()
    await assert_customers(c, (A, B))
    c.buys(B, 25)
    await c.drain()
    await _rebuilt(engine)
    await assert_customers(c, (A, B))
    c.says(B, kind="unlinked")
    await c.drain()
    await assert_customers(c)


async def _rebuilt(engine: AsyncEngine) -> None:
    """Rebuild all states, as after an upgrade."""
    async with unit_of_work(engine) as work:
        await work.driver.execute("UPDATE scoring.customer_state SET feature_set = 0, state = ''")
        await work.driver.execute("UPDATE scoring.member SET feature_set = 0, own_state = ''")
    await rebuild(Rebuilding(engine, TOPIC), lambda *_: None)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("rebuilt", [True, False])
async def test_an_order_under_both_ids_while_one(
    engine: AsyncEngine, rebuilt: bool, together: bool
) -> None:
    """It counts once for the customer, and after the undo once for each, as if never merged.

    The other id repeats it in the same batch or later; states are rebuilt in between or not."""
    c = Cluster(engine)
    c.says(A, B, primary=A)
    c.buys(A, 1)
    c.buys(B, 2)
    await c.drain()
    for name, ids in (("guest-1", (A, B)), ("guest-2", (B, A)), ("guest-3", (B, A, B, A))):
        for each in ids:
            c.buys(each, 5, name, 30)
            if not together:
                await c.drain()
    await c.drain()
    await assert_customers(c, (A, B))
    if rebuilt:
        await _rebuilt(engine)
        await assert_customers(c, (A, B))
    c.says(B, kind="unlinked")
    await c.drain()
    await assert_customers(c)
    for each in (A, B):  # known by now, each with its own id
        for name in ("guest-1", "guest-2", "guest-3"):
            c.buys(each, 5, name, 30)
    await c.drain()
    await assert_customers(c)
    await _rebuilt(engine)
    await assert_customers(c)
    assert await table(engine, "member_key") == []
    assert [r for r in c.sent if r.topic == DEAD] == [], "no id was reused"


@pytest.mark.parametrize("together", [True, False])
async def test_other_content_under_one_id_is_a_dead_letter(
    engine: AsyncEngine, together: bool
) -> None:
    """Also of a customer with several ids, whichever of them had sent it before."""
    c = Cluster(engine)
    c.says(A, B, primary=A)
    await c.drain()
    for each, amount in ((B, 30), (A, 30), (A, 31), (B, 32), (A, 30), (B, 30)):
        c.buys(each, 5, "guest-1", amount)
        if not together:
            await c.drain()
    await c.drain()
    assert len([r for r in c.sent if r.topic == DEAD]) == 2
    (state,) = (await customers(engine)).values()
    assert from_bytes([state])["counts"][0, Kind.PURCHASE - 1] == 1


async def test_a_repeated_profile_is_both_ids(engine: AsyncEngine) -> None:
    """One profile event sent under both ids while they are one: each has it after the undo."""
    c = Cluster(engine)
    c.says(A, B, primary=A)
    await c.drain()
    for each in (B, A):
        c.numbers = 40
        c.profile(each, 3, name="Mo")
        await c.drain()
    c.says(B, kind="unlinked", name="undo")
    await c.drain()
    found = {row["customer_id"]: row["profile"] for row in await table(engine, "profile")}
    assert sorted(found) == [B, A]
    assert all(b'"name":"Mo"' in profile for profile in found.values())


@pytest.mark.erasure
async def test_erasing_one_id_erases_all(engine: AsyncEngine) -> None:
    """Of a customer with several ids nothing is left, and the others' services are asked too."""
    c = Cluster(engine)
    c.buys(A, 1)
    c.buys(B, 2)
    c.says(A, B, primary=A)
    await c.drain()
    erasure = CustomerErasure(engine)
    async with unit_of_work(engine) as work:
        others = await erasure.ids(work, B)
        assert others == [A]
        for each in (B, *others):
            await erasure.delete(work, each)
        await erasure.delete_links(work, [B, *others])
    for name in ("customer_state", "member", "identity_link", "identity_statement", "event_key"):
        assert await table(engine, name) == [], name


@pytest.mark.erasure
async def test_erasing_a_contact_leaves_the_account(engine: AsyncEngine) -> None:
    """The account and its other contacts did not ask; of the contact nothing is left there."""
    c = Cluster(engine)
    c.buys("acme", 1)
    c.says("li", "acme", kind="contact")
    c.says("mo", "acme", kind="contact")
    await c.drain()
    c.buys("li", 5, "li-5")
    c.buys("mo", 6, "mo-6")
    await c.drain()
    erasure = CustomerErasure(engine)
    async with unit_of_work(engine) as work:
        await erasure.erasures.begin(work, "r-1", "li", day(7), day(9_999))
        assert await erasure.ids(work, "li") == []
        assert await erasure.ids(work, "acme") == ["li", "mo"]
        await erasure.delete(work, "li")
        await erasure.delete_links(work, ["li"])
    assert await erasure.delete_events(day(9_999)) == 2, "the statement and the purchase"
    for name in ("customer_state", "member", "event", "event_key", "identity_statement", "timer"):
        for row in await table(engine, name):
            said = repr([DECODER.decode(row["payload"])] if name == "event" else row)
            assert "'li'" not in said, (name, said)
    assert await _purchases(engine) == {"acme": 3}, "what it did for the account stays counted"
    # The worker of the contact's partition forgets; that of the account's may remember.
    c.workers[home("li")].store.forget()  # type: ignore[attr-defined]
    c.buys("acme", 8)
    c.buys("li", 9)
    for _ in range(4):
        for worker in range(PARTITIONS):
            await c.turn(worker)
    assert await _purchases(engine) == {"acme": 4, "li": 1}


async def _purchases(engine: AsyncEngine) -> dict[str, int]:
    """Return the number of purchases of each customer."""
    found = await customers(engine)
    counts = from_bytes(list(found.values()))["counts"][:, Kind.PURCHASE - 1]
    return dict(zip(found, counts.astype(int).tolist(), strict=True))


async def test_training_reads_events_by_customer(engine: AsyncEngine) -> None:
    """Stored events name the customer that they belong to by now, before and after an undo."""
    c = Cluster(engine)
    c.buys(B, 1)
    await c.drain()
    c.says(A, B, primary=A)
    await c.drain()
    c.buys(B, 2)
    await c.drain()
    assert await _subjects(engine) == [A, A]
    c.says(B, kind="unlinked")
    await c.drain()
    assert await _subjects(engine) == [B, B]


async def _subjects(engine: AsyncEngine) -> list[str]:
    return [
        found.subject
        async for payloads in HistoryReader(engine).events()
        for payload in payloads
        if (found := DECODER.decode(payload)).type == "io.ebbwatch.purchase"
    ]


async def test_by_any_id_and_with_all_ids(engine: AsyncEngine) -> None:
    """The primary id of each, and how many events came with which."""
    c = Cluster(engine)
    c.buys(A, 1)
    c.buys(B, 2)
    c.buys(B, 3)
    c.says(A, B, primary=A)
    await c.drain()
    queries = IdentityQueries(engine)
    assert [await queries.primary(each) for each in (A, B, "nobody")] == [A, A, "nobody"]
    assert [(one.id, one.events) for one in await queries.ids(A)] == [(A, 2), (B, 2)]
    (said,) = await queries.statements([B])
    assert (said.subject, said.refused) == (A, None)


async def test_a_storm_of_statements_leaves_room(engine: AsyncEngine) -> None:
    """A batch takes a bounded number of statements; what follows in the partition waits."""
    c = Cluster(engine)
    c.says("hub-1", "a")
    await c.drain()
    for n in range(STATEMENTS_MAX + 5):
        c.says(A, f"id-{n}", primary=A, name=f"storm-{n}")
    c.buys(A, 5)
    await c.turn(home(A))
    decided = await table(engine, "identity_statement")
    assert len(decided) == 1 + STATEMENTS_MAX
    await c.drain()
    assert len(await table(engine, "identity_statement")) == 1 + STATEMENTS_MAX + 5


async def test_an_export_has_the_events_of_all_ids(engine: AsyncEngine) -> None:
    """By any id, from before the merge and after it; each says which id it came with."""
    c = Cluster(engine)
    c.buys(A, 1, "web-1")
    c.buys(B, 2, "card-1")
    await c.drain()
    c.says(A, B, primary=A)
    c.buys(B, 3, "card-2")
    await c.drain()
    for asked in (A, B):
        found = [row async for name, row in export_of(engine, "USD").rows(asked) if name == "event"]
        came_with = {row["payload"]["id"]: row["original_customer_id"] for row in found}
        assert came_with["web-1"] == A
        assert came_with["card-1"] == came_with["card-2"] == B
