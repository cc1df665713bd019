"""What is kept of customers with several ids: rebuilt, erased, trained on, read, bounded."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.handlers.link_customers import STATEMENTS_MAX
from services.scoring.handlers.rebuild import rebuild
from services.scoring.store import identity_tables  # noqa: F401 (adds its tables to `metadata`)
from services.scoring.store.erasure import CustomerErasure
from services.scoring.store.history import HistoryReader
from services.scoring.store.identity_queries import IdentityQueries
from services.scoring.store.rebuild import Rebuilding
from shared.contracts.activity import DECODER
from shared.postgres.engine import unit_of_work
from tests.fakes.scoring_worker import TOPIC
from tests.integration.scoring.identity_cluster import (
    Cluster,
    assert_customers,
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
    async with unit_of_work(engine) as work:
        await work.driver.execute("UPDATE scoring.customer_state SET feature_set = 0, state = ''")
        await work.driver.execute("UPDATE scoring.member SET feature_set = 0, own_state = ''")
    await rebuild(Rebuilding(engine, TOPIC), lambda *_: None)
    await assert_customers(c, (A, B))
    c.says(B, kind="unlinked")
    await c.drain()
    await assert_customers(c)


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
