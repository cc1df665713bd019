"""The ledger: only the owner of a partition writes, and its offsets are the truth (invariant 2)."""

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.kernel.errors import Transient
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.ledger import Claim, Fenced, Fingerprint, Ledger, Move
from shared.postgres.settings import PostgresSettings
from tests.integration.shared.tables import effect, partition

pytestmark = pytest.mark.stack

A, B, C = ("topic", 0), ("topic", 1), ("other", 0)
SEEN = Fingerprint(1_772_355_600_000, b"0123456789abcdef")


def step(claim: Claim, to: int, **progress: object) -> Move:
    """Return a move of this claim."""
    return Move(claim, to, SEEN, progress)


async def advance(engine: AsyncEngine, ledger: Ledger, *moves: Move, name: str = "e") -> None:
    """Run a transaction with an effect of its own and the fence."""
    async with unit_of_work(engine) as work:
        await work.connection.execute(effect.insert().values(id=name))
        await ledger.advance(work, moves)


async def rows(engine: AsyncEngine, table: sa.Table) -> list[dict[str, Any]]:
    """Return all rows of a table."""
    async with unit_of_work(engine) as work:
        found = await work.connection.execute(sa.select(table))
        return [dict(row) for row in found.mappings()]


async def test_take_over_raises_the_epoch(engine: AsyncEngine, ledger: Ledger) -> None:
    """A first claim begins without an offset; each later one continues at the last commit."""
    first = await ledger.take_over(A, "one")
    assert first == Claim("topic", 0, 1, None, None)
    await advance(engine, ledger, step(first, 7, now=1.5))
    second = await ledger.take_over(A, "two")
    assert second == Claim("topic", 0, 2, 7, SEEN, {"now": 1.5})
    assert (await ledger.list_all())[0]["worker"] == "two"


async def test_advance_moves_all_or_nothing(engine: AsyncEngine, ledger: Ledger) -> None:
    """Several moves in one call commit with the transaction's effects.

    The returned claims are good for the next moves.
    """
    moves = [step(await ledger.take_over(tp, "one"), 10) for tp in (B, C, A)]
    await advance(engine, ledger, *moves, name="first")
    await advance(engine, ledger, *(step(m.done(), 20) for m in moves), name="second")
    found = {(r["topic"], r["partition"]): r for r in await rows(engine, partition)}
    assert {tp: r["next_offset"] for tp, r in found.items()} == {A: 20, B: 20, C: 20}
    assert all(r["moved_at"] is not None for r in found.values())
    assert {r["id"] for r in await rows(engine, effect)} == {"first", "second"}


async def test_no_moves_are_no_statement(engine: AsyncEngine, ledger: Ledger) -> None:
    """A batch without moves passes the fence."""
    await advance(engine, ledger)
    assert len(await rows(engine, effect)) == 1


@pytest.mark.parametrize("loss", ["stale epoch", "wrong offset", "never read", "stopped"])
async def test_fence_names_the_lost_and_writes_nothing(
    engine: AsyncEngine, ledger: Ledger, loss: str
) -> None:
    """One of three moves is refused: exactly that partition is named, and nothing is written."""
    claims = {tp: await ledger.take_over(tp, "one") for tp in (A, B, C)}
    await advance(engine, ledger, *(step(claim, 5) for claim in claims.values()), name="before")
    claims = {tp: step(claim, 5).done() for tp, claim in claims.items()}
    match loss:
        case "stale epoch":
            await ledger.take_over(B, "two")
        case "wrong offset":
            claims[B] = replace(claims[B], next_offset=4)
        case "never read":
            claims[B] = replace(claims[B], next_offset=None)
        case _:
            await ledger.stop(claims[B], "for the test")
    before = await rows(engine, partition)

    with pytest.raises(Fenced) as fenced:
        await advance(engine, ledger, *(step(claim, 9) for claim in claims.values()), name="after")

    assert fenced.value.lost == {B}
    assert await rows(engine, partition) == before
    assert [r["id"] for r in await rows(engine, effect)] == ["before"]


async def test_fence_names_every_loss(engine: AsyncEngine, ledger: Ledger) -> None:
    """Two of two moves are refused."""
    claims = [await ledger.take_over(tp, "one") for tp in (A, C)]
    for tp in (A, C):
        await ledger.take_over(tp, "two")
    with pytest.raises(Fenced) as fenced:
        await advance(engine, ledger, *(step(claim, 1) for claim in claims))
    assert fenced.value.lost == {A, C}


async def test_fence_waits_for_a_take_over(engine: AsyncEngine, ledger: Ledger) -> None:
    """A take-over is about to commit when the old owner advances, and the take-over wins.

    The old owner sees the new epoch although its statement began before.
    """
    old = await ledger.take_over(A, "one")
    async with unit_of_work(engine) as taking:
        await taking.driver.execute("UPDATE shared_test.partition SET epoch = epoch + 1")
        late = asyncio.create_task(advance(engine, ledger, step(old, 3)))
        await blocked(engine, 1)
    with pytest.raises(Fenced):
        await late
    assert await rows(engine, effect) == []


async def blocked(engine: AsyncEngine, count: int) -> None:
    """Wait until so many sessions of this database wait for a lock."""
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20), engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        while (await connection.execute(query)).scalar_one() < count:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("hangs", ["between statements", "in a statement"])
async def test_take_over_ends_a_session_that_holds_the_row(
    engine: AsyncEngine, ledger: Ledger, postgres: PostgresSettings, hangs: str
) -> None:
    """A worker hangs in an open transaction after its fence, out of reach of the server's timeouts.

    It cannot keep the partition: its session is ended, its transaction is rolled back, and it gets
    a transient error.
    """
    patient = postgres.model_copy(
        update={"statement_timeout_ms": 0, "idle_in_transaction_timeout_ms": 0}
    )
    hanging = create_engine(patient, "hanging")
    old = await ledger.take_over(A, "one")
    with pytest.raises(Transient):
        async with unit_of_work(hanging) as work:
            await work.connection.execute(effect.insert().values(id="of the hanging one"))
            await ledger.advance(work, [step(old, 3)])
            if hangs == "between statements":
                new = await ledger.take_over(A, "two")
            else:
                taking = asyncio.create_task(ledger.take_over(A, "two"))
                await work.driver.execute("SELECT pg_sleep(100)")
    if hangs == "in a statement":
        new = await taking
    await hanging.dispose()
    assert (new.epoch, new.next_offset) == (2, None)
    assert await rows(engine, effect) == []


async def test_take_over_leaves_other_sessions_alone(
    engine: AsyncEngine, ledger: Ledger, database_url: str
) -> None:
    """Another program's session holds the row and is not ended: the take-over waits."""
    await ledger.take_over(A, "one")
    person = await asyncpg.connect(database_url)
    holding = person.transaction()
    await holding.start()
    await person.execute("SELECT 1 FROM shared_test.partition FOR UPDATE")
    taking = asyncio.create_task(ledger.take_over(A, "two"))
    await blocked(engine, 1)
    done, _ = await asyncio.wait({taking}, timeout=3)
    assert not done
    await holding.rollback()
    await person.close()
    assert (await taking).epoch == 2


async def test_cancelled_take_over_leaves_nothing(engine: AsyncEngine, ledger: Ledger) -> None:
    """A take-over is cancelled while it waits for the row: it ends, and the epoch is unchanged."""
    await ledger.take_over(A, "one")
    async with unit_of_work(engine) as work:
        await work.driver.execute("SELECT 1 FROM shared_test.partition FOR UPDATE")
        taking = asyncio.create_task(ledger.take_over(A, "two"))
        await blocked(engine, 1)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    assert (await ledger.list_all())[0]["epoch"] == 1


async def test_stop_needs_the_epoch(ledger: Ledger) -> None:
    """Only the owner stops a partition; a process that claims it afterwards sees the reason."""
    old = await ledger.take_over(A, "one")
    new = await ledger.take_over(A, "two")
    await ledger.stop(old, "a zombie's opinion")
    assert (await ledger.list_all())[0]["status"] == "running"
    await ledger.stop(new, "the log is another one")
    claim = await ledger.take_over(A, "three")
    assert (claim.status, claim.status_reason) == ("stopped", "the log is another one")


async def test_reset_fences_the_owner_and_starts_the_partition(
    engine: AsyncEngine, ledger: Ledger
) -> None:
    """An operator's reset fences the owner, drops the fingerprint and restarts a stopped partition.

    A missing partition is reported.
    """
    claim = await ledger.take_over(A, "one")
    await advance(engine, ledger, step(claim, 50), name="before")
    owner = step(claim, 50).done()
    await ledger.stop(owner, "for the test")
    assert await ledger.reset(A, 10)
    with pytest.raises(Fenced):
        await advance(engine, ledger, step(owner, 60), name="after")
    claim = await ledger.take_over(A, "one")
    assert (claim.next_offset, claim.fingerprint, claim.status) == (10, None, "running")
    assert claim.status_reason is None
    assert await ledger.reset(A, None)
    assert (await ledger.take_over(A, "one")).next_offset is None
    assert not await ledger.reset(C, 0)
