"""One person is one customer: the laws of merge and undo on real tables, over two partitions."""

import random

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.events import Kind
from services.scoring.core.features.state import from_bytes
from services.scoring.store import identity_tables  # noqa: F401 (adds its tables to `metadata`)
from shared.contracts.events import PURCHASE
from tests.fakes.generated_history import assert_stored
from tests.integration.scoring.identity_cluster import (
    Cluster,
    assert_customers,
    customers,
    home,
    sent,
    state_of,
)
from tests.integration.scoring.postgres import table

pytestmark = [pytest.mark.stack, pytest.mark.identity]

A, B = "mo-web", "mo-card"
"""Two ids at home in different partitions."""


def test_the_two_ids_have_different_homes() -> None:
    """What follows is about two partitions."""
    assert home(A) != home(B)


async def test_two_ids_become_one_customer(engine: AsyncEngine) -> None:
    """Events before, between and after the merge, under either id, count once for one customer."""
    c = Cluster(engine)
    for at in (1, 8, 15):
        c.buys(A, at)
        c.buys(B, at + 3)
    await c.drain()
    c.says(A, B, primary=A)
    c.buys(B, 22)
    await c.drain()
    c.buys(B, 25)
    c.buys(A, 29)
    await c.drain()
    await assert_customers(c, (A, B))
    timers = await table(engine, "timer")
    assert [row["customer_id"] for row in timers] == [A]
    assert [(t.kind, t.customer_id, t.primary_id) for t in c.told] == [("customer_merged", B, A)]


async def test_undo_is_as_if_never_merged(engine: AsyncEngine) -> None:
    """After an undo both have what came with their ids, before, while merged and after."""
    c = Cluster(engine)
    for at in (1, 8, 15):
        c.buys(A, at)
        c.buys(B, at + 3)
    await c.drain()
    c.says(A, B, primary=A)
    await c.drain()
    c.buys(A, 22)
    c.buys(B, 25)
    await c.drain()
    c.says(B, kind="unlinked")
    c.buys(A, 28)
    c.buys(B, 29)
    await c.drain()
    await assert_customers(c)
    keys = {(r["customer_id"], r["id"], r["came_with"]) for r in await table(engine, "event_key")}
    came = {(i, e.id, None) for i, events in sent(c).items() for e in events}
    assert keys == came
    assert await table(engine, "member") == []
    assert sorted(row["customer_id"] for row in await table(engine, "timer")) == [B, A]


async def test_a_guest_order_sent_again_counts_once(engine: AsyncEngine) -> None:
    """One order under both ids: once, whether the merge comes after both or between."""
    c = Cluster(engine)
    c.buys(A, 1, "guest-1", 30)
    c.buys(B, 1, "guest-1", 30)
    c.buys(B, 2, "guest-2", 50)
    await c.drain()
    c.says(A, B, primary=A)
    await c.drain()
    c.buys(A, 2, "guest-2", 50)
    c.buys(B, 1, "guest-1", 30)
    await c.drain()
    await assert_customers(c, (A, B))


async def test_a_statement_counts_once(engine: AsyncEngine) -> None:
    """Read again after an undo, the statement of the merge merges nothing."""
    c = Cluster(engine)
    c.buys(A, 1)
    c.buys(B, 2)
    c.says(A, B, name="link", primary=A)
    await c.drain()
    c.says(A, B, kind="unlinked")
    c.says(A, B, name="link", primary=A)
    await c.drain()
    await assert_customers(c)


async def test_everything_again_changes_nothing(engine: AsyncEngine) -> None:
    """The whole log once more: each event is known, under whichever id it is kept."""
    c = Cluster(engine)
    for at in (1, 8, 15):
        c.buys(A, at)
        c.buys(B, at + 3)
    c.says(A, B, primary=A)
    c.buys(B, 20)
    await c.drain()
    before = await customers(engine)
    values = [(tp[1], r.value, r.key) for tp, found in c.log.records.items() for r in found]
    for partition, value, key in values:
        c.log.append(partition, value, key=key)
    await c.drain()
    assert await customers(engine) == before


async def test_an_id_that_was_never_seen(engine: AsyncEngine) -> None:
    """A link comes before the first event of one of its ids."""
    c = Cluster(engine)
    c.says(A, B, primary=A)
    await c.drain()
    c.buys(B, 4)
    await c.drain()
    await assert_customers(c, (A, B))


async def test_too_many_ids_are_refused(engine: AsyncEngine) -> None:
    """A till: the customer keeps the ids that it has, and the statement is a dead letter."""
    c = Cluster(engine)
    c.says("till", *(f"id-{n}" for n in range(49)), primary="till")
    c.says("till", "one-more")
    c.buys("one-more", 3)
    await c.drain()
    found = await customers(engine)
    assert sorted(found) == ["one-more", "till"]
    (letter,) = [r for r in c.sent if r.topic == "dead-letter"]
    reasons = [v for name, v in letter.headers if b"shared id" in (v or b"")]
    assert reasons, letter.headers
    refused = [r["refused"] for r in await table(engine, "identity_statement") if r["refused"]]
    assert len(refused) == 1


async def test_profiles_by_field_and_consent(engine: AsyncEngine) -> None:
    """The last writer's fields stand, the other's fill in; who refuses consent has refused it."""
    c = Cluster(engine)
    c.profile(A, 1, name="Mo", region="Bern", consent={"email": True})
    c.profile(B, 2, name="Mo K.", consent={"email": False})
    c.says(A, B, primary=A)
    await c.drain()
    (row,) = await table(engine, "profile")
    assert row["customer_id"] == A
    assert b'"name":"Mo K."' in row["profile"]
    assert b'"region":"Bern"' in row["profile"]
    assert b'"consent":{"email":false}' in row["profile"]
    c.profile(B, 3, name="Mo Kern")
    await c.drain()
    (row,) = await table(engine, "profile")
    assert b'"name":"Mo Kern"' in row["profile"]
    assert b'"region":"Bern"' in row["profile"]
    c.says(B, kind="unlinked")
    await c.drain()
    names = {r["customer_id"]: r["profile"] for r in await table(engine, "profile")}
    assert b'"name":"Mo"' in names[A]
    assert b'"name":"Mo Kern"' in names[B]


async def test_a_contact_counts_for_the_account(engine: AsyncEngine) -> None:
    """What Li does counts for Acme; after the move for Bolt, and the past stays with Acme."""
    c = Cluster(engine)
    c.buys("acme", 1)
    c.says("li", "acme", kind="contact")
    await c.drain()
    c.buys("li", 5)
    await c.drain()
    c.says("li", "bolt", kind="contact")
    await c.drain()
    c.buys("li", 9)
    await c.drain()
    by_id = sent(c)
    first, second = (e for e in by_id["li"] if e.type == "io.ebbwatch.purchase")
    want = {"acme": state_of([*by_id["acme"], first]), "bolt": state_of([second])}
    assert_stored(await customers(engine), want)


FAMILIES = ({"hub-1", "a", "b", "c"}, {"hub-2", "d", "e", "f"})


def _history(source: random.Random, c: Cluster) -> list[tuple[str, ...]]:
    """Fill the log; return the groups that the statements lead to, by a reference of their own."""
    links: dict[str, set[str]] = {"hub-1": set(), "hub-2": set()}
    for _ in range(source.randint(15, 40)):
        family = source.choice(FAMILIES)
        hub = next(i for i in family if i.startswith("hub"))
        chance = source.random()
        others = sorted(family - {hub})
        if chance < 0.65:
            c.buys(
                source.choice(sorted(family)), source.randint(0, 30), amount=source.randint(1, 99)
            )
        elif chance < 0.85 or not links[hub]:
            picked = source.sample(others, source.randint(1, 2))
            c.says(hub, *picked, primary=hub)
            links[hub] |= set(picked)
        else:
            gone = source.choice(sorted(links[hub]))
            c.says(hub, gone, kind="unlinked")
            links[hub] -= {gone}
    return [(hub, *sorted(others)) for hub, others in links.items() if others]


@pytest.mark.parametrize("seed", range(12))
async def test_any_interleaving_with_crashes_equals_the_reference(
    engine: AsyncEngine, seed: int
) -> None:
    """Batches of any size on two partitions, crashes, take-overs: the same customers."""
    source = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    c = Cluster(engine)
    groups = _history(source, c)
    await c.play(source, steps=40)
    await c.drain()
    found = await customers(engine)
    # An id that was linked before its first event is a customer after an undo, without any.
    bare = {i for i in found if i not in sent(c)} - {g[0] for g in groups}
    await assert_customers(c, *groups, also=tuple(bare))


@pytest.mark.parametrize("seed", range(4))
async def test_partitions_are_added_in_the_middle(engine: AsyncEngine, seed: int) -> None:
    """Ids change their homes while events, merges and undos are under way: none lost or doubled.

    Crashes and take-overs included; the new partition is read beside the old ones at once, which
    is less orderly than the service is."""
    source = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    c = Cluster(engine)
    _history(source, c)
    await c.play(source, steps=12)
    c.grow(3)
    names = sorted({*FAMILIES[0], *FAMILIES[1]})
    assert any(home(name) != c.home(name) for name in names)
    groups = [tuple(sorted(family, key=lambda i: (not i.startswith("hub"), i)))
              for family in FAMILIES]  # fmt: skip
    for _ in range(20):
        c.buys(source.choice(names), source.randint(0, 30), amount=source.randint(1, 99))
    await c.play(source, steps=12)
    await c.drain()
    for hub, *others in groups:
        c.says(hub, *others, primary=hub)
    await c.play(source, steps=6)
    c.grow(4)
    for name in names:
        c.buys(name, 20)
    await c.play(source, steps=12)
    await c.drain()
    await assert_customers(c, *groups)
    c.says("hub-1", "a", kind="unlinked")
    await c.drain()
    await assert_customers(c, tuple(i for i in groups[0] if i != "a"), groups[1])


async def test_the_interleavings_do_crash(engine: AsyncEngine) -> None:
    """The law above is no law of quiet runs: processes die, and die while they merge."""
    source, c = random.Random(4), Cluster(engine)  # noqa: S311 (repeatable on purpose)
    _history(source, c)
    await c.play(source, steps=40)
    assert c.crashes >= 3


@pytest.mark.parametrize("seed", range(4))
async def test_any_statements_leave_groups_whole(engine: AsyncEngine, seed: int) -> None:
    """Links, undos and contacts at random, of ids that exist or not: nothing breaks or is lost."""
    source, c = random.Random(seed), Cluster(engine)  # noqa: S311 (repeatable on purpose)
    names = [f"x{n}" for n in range(8)]
    for _ in range(60):
        one, *others = source.choices(names, k=source.randint(1, 4))
        chance = source.random()
        if chance < 0.4:
            c.buys(one, source.randint(0, 30))
        elif chance < 0.7:
            c.says(one, *others, device=source.random() < 0.3)
        elif chance < 0.85:
            c.says(one, *others, kind="unlinked")
        else:
            c.says(one, source.choice(names), kind="contact")
    await c.play(source, steps=30)
    await c.drain()
    primary = {r["customer_id"]: r["primary_id"] for r in await table(engine, "member")}
    assert all(primary[p] == p for p in primary.values()), "chains are flat"
    assert all(list(primary.values()).count(p) > 1 for p in primary.values()), "none is alone"
    rows = await table(engine, "customer_state")
    homeless = {row["customer_id"] for row in rows if row["partition"] < 0}
    assert homeless == {i for i, p in primary.items() if p != i}
    assert {r["customer_id"] for r in await table(engine, "timer")}.isdisjoint(homeless)
    # An event that was sent on and comes back to its own id is in the log twice.
    purchases = len({a.id for events in sent(c).values() for a in events if a.type == PURCHASE})
    states = from_bytes([*(await customers(engine)).values()])
    assert states["counts"][:, Kind.PURCHASE - 1].sum() == purchases, "each counts once somewhere"
