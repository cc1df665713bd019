"""Units of work: one transaction for both interfaces, and transient errors apart from bugs."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray
from pydantic import SecretStr
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.waiting import LOOPBACK, free_port
from shared.kernel.errors import Invalid, Transient
from shared.postgres.copy_columns import copy_columns, texts, timestamps
from shared.postgres.engine import UnitOfWork, create_engine, reading, unit_of_work
from shared.postgres.settings import PostgresSettings
from tests.integration.shared.tables import effect

pytestmark = pytest.mark.stack

INSERT = "INSERT INTO shared_test.effect VALUES ($1)"


async def effects(engine: AsyncEngine) -> set[str]:
    """Return what was committed."""
    async with unit_of_work(engine) as work:
        return set((await work.connection.execute(sa.select(effect.c.id))).scalars())


async def kill(engine: AsyncEngine, victim: UnitOfWork) -> None:
    """End a transaction's session from another one."""
    async with unit_of_work(engine) as work:
        await work.driver.execute(
            "SELECT pg_terminate_backend($1, 5000)", victim.driver.get_server_pid()
        )


async def test_statements_are_not_compiled(engine: AsyncEngine, postgres: PostgresSettings) -> None:
    """Holds whatever the server's own setting is."""
    async with unit_of_work(engine) as work:
        database = await work.driver.fetchval("SELECT current_database()")
        await work.driver.execute(f'ALTER DATABASE "{database}" SET jit = on')
    fresh = create_engine(postgres, "test")
    try:
        async with unit_of_work(fresh) as work:
            assert await work.driver.fetchval("SHOW jit") == "off"
            assert await work.driver.fetchval(
                "SELECT 'jit=on' = ANY (setconfig) FROM pg_db_role_setting s "
                "JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = $1",
                database,
            )
    finally:
        await fresh.dispose()


async def test_both_ways_are_one_transaction(engine: AsyncEngine) -> None:
    """What SQLAlchemy and the driver beneath it wrote is committed together."""
    async with unit_of_work(engine) as work:
        await work.driver.execute(INSERT, "driver")
        await work.connection.execute(effect.insert().values(id="connection"))
        await work.driver.copy_records_to_table(
            "effect", schema_name="shared_test", records=[("copy",)]
        )
    assert await effects(engine) == {"driver", "connection", "copy"}


async def test_columns_are_copied_as_they_are(engine: AsyncEngine) -> None:
    """Numbers of every width, times to the microsecond, text of every length, arrays, and NULL."""
    seconds = np.array([0.0, 946_684_800.0, 1_772_323_199.999999])
    numbers: dict[str, NDArray[Any]] = {
        "small": np.array([-1, 0, 32_767], np.int16),
        "whole": np.array([-1, 0, 2**31 - 1], np.int32),
        "big": np.array([-1, 0, 2**62]),
        "real": np.array([-0.1, np.inf, 1e-300]),
        "flag": np.array([True, False, True]),
        "at": timestamps(seconds),
    }
    words: dict[str, list[bytes | None]] = {
        "name": [b"ann", "客户-七".encode(), b""],
        "bytes": [b"\0\xff", None, bytes(5_000)],
        "names": [texts(()), None, texts(("a,b", "", '{"客户"}'))],
    }
    async with unit_of_work(engine) as work:
        await work.driver.execute(
            "CREATE TEMP TABLE copied (bytes bytea, name text, at timestamptz, flag bool, "
            "real float8, big bigint, whole int, small smallint, names text[]) "
            "ON COMMIT DROP"
        )
        await copy_columns(work.driver, "copied", numbers, words)
        rows = await work.driver.fetch("SELECT * FROM copied")
    found = {name: [row[name] for row in rows] for name in (*numbers, *words)}
    assert found.pop("at") == [datetime.fromtimestamp(at, UTC) for at in seconds]
    assert found.pop("name") == ["ann", "客户-七", ""]
    assert found.pop("bytes") == words["bytes"]
    assert found.pop("names") == [[], None, ["a,b", "", '{"客户"}']]
    assert found == {name: numbers[name].tolist() for name in found}


@pytest.mark.parametrize("error", [Invalid("f", "r"), Transient("t"), RuntimeError("bug")])
async def test_an_error_rolls_both_back(engine: AsyncEngine, error: Exception) -> None:
    """A first statement by the driver does not commit on its own.

    The error arrives as it was raised.
    """
    with pytest.raises(type(error)) as caught:
        async with unit_of_work(engine) as work:
            await work.driver.execute(INSERT, "driver")
            await work.driver.copy_records_to_table(
                "effect", schema_name="shared_test", records=[("copy",)]
            )
            await work.connection.execute(effect.insert().values(id="connection"))
            raise error
    assert caught.value is error
    assert await effects(engine) == set()


async def test_cancelled_work_is_rolled_back(engine: AsyncEngine) -> None:
    """Cancelled in the middle of a statement: nothing is written, and the pool stays usable."""
    entered = asyncio.Event()

    async def hang() -> None:
        async with unit_of_work(engine) as work:
            await work.driver.execute(INSERT, "driver")
            entered.set()
            await work.driver.execute("SELECT pg_sleep(60)")

    hanging = asyncio.create_task(hang())
    await entered.wait()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert await effects(engine) == set()


@pytest.mark.parametrize("way", ["driver", "connection", "commit"])
async def test_a_lost_connection_passes(engine: AsyncEngine, way: str) -> None:
    """The session ends in the middle, or just before the COMMIT.

    This raises Transient and writes nothing; the next unit of work gets a good connection.
    """
    with pytest.raises(Transient):
        async with unit_of_work(engine) as work:
            await work.driver.execute(INSERT, "lost")
            await kill(engine, work)
            if way == "driver":
                await work.driver.execute(INSERT, "never")
            elif way == "connection":
                await work.connection.execute(effect.insert().values(id="never"))
    assert await effects(engine) == set()


async def test_idle_connections_that_died_pass(postgres: PostgresSettings) -> None:
    """The server ended every pooled session (a restart): one Transient at most, then work."""
    engine = create_engine(postgres, "test-idle")
    holders = [unit_of_work(engine) for _ in range(3)]
    opened = [await holder.__aenter__() for holder in holders]
    pids = [work.driver.get_server_pid() for work in opened]
    for holder in holders:
        await holder.__aexit__(None, None, None)
    other = create_engine(postgres, "test-other")
    async with unit_of_work(other) as work:
        await work.driver.execute(
            "SELECT pg_terminate_backend(p, 5000) FROM unnest($1::int[]) p", pids
        )
    await other.dispose()
    with pytest.raises(Transient):
        async with unit_of_work(engine):
            pass
    for _ in pids:
        async with unit_of_work(engine) as work:
            assert await work.driver.fetchval("SELECT 1") == 1
    await engine.dispose()


async def test_one_that_was_cancelled_as_it_began_leaves_no_trace(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is given up: within a transaction that stays open, nothing would commit."""
    begun = asyncio.Event()

    with monkeypatch.context() as patched:
        start = asyncpg.transaction.Transaction.start

        async def starts_and_hangs(self: Any) -> None:
            await start(self)
            begun.set()
            await asyncio.Event().wait()

        patched.setattr(asyncpg.transaction.Transaction, "start", starts_and_hangs)

        async def hang() -> None:
            async with unit_of_work(engine):
                raise AssertionError("began")

        task = asyncio.create_task(hang())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for name in ("a", "b"):
        async with unit_of_work(engine) as work:
            await work.driver.execute(INSERT, name)
    await engine.dispose()  # whatever was not committed is gone
    assert await effects(engine) == {"a", "b"}


async def test_what_only_reads_begins_nothing(engine: AsyncEngine) -> None:
    """Each statement is a transaction of its own, apart from a unit of work on the same session."""
    async with reading(engine) as driver:
        assert not driver.is_in_transaction()
        first, second = [await driver.fetchval("SELECT now()") for _ in range(2)]
        assert first < second
    async with unit_of_work(engine) as work:
        await work.driver.execute(INSERT, "a")
    assert await effects(engine) == {"a"}


async def test_a_lost_connection_passes_for_who_only_reads(postgres: PostgresSettings) -> None:
    """All sessions of the pool ended while idle: one read fails, the next one succeeds."""
    engine, other = create_engine(postgres, "test"), create_engine(postgres, "other")
    try:
        async with unit_of_work(engine), reading(engine) as driver:
            assert await driver.fetchval("SELECT 1") == 1
        async with unit_of_work(other) as work:
            ended = await work.driver.fetch(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'ebbwatch-test' AND datname = current_database()"
            )
        assert len(ended) == 2
        with pytest.raises(Transient):
            async with reading(engine) as driver:
                await driver.fetchval("SELECT 1")
        for _ in range(2):
            async with reading(engine) as driver:
                assert await driver.fetchval("SELECT 1") == 1
    finally:
        await engine.dispose()
        await other.dispose()


async def test_a_look_that_is_cancelled_leaves_no_trace(postgres: PostgresSettings) -> None:
    engine = create_engine(postgres.model_copy(update={"pool_size": 1}), "test")
    try:

        async def look() -> None:
            async with reading(engine) as driver:
                await driver.execute("SELECT pg_sleep(30)")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(look(), 0.2)
        async with unit_of_work(engine) as work:
            assert await work.driver.fetchval("SELECT 1") == 1
    finally:
        await engine.dispose()


async def test_a_unique_violation_stays(engine: AsyncEngine) -> None:
    """A violated constraint is a bug or a decision of the caller, never a reason to retry."""
    with pytest.raises(asyncpg.UniqueViolationError):
        async with unit_of_work(engine) as work:
            await work.driver.execute(INSERT, "a")
            await work.driver.execute(INSERT, "a")
    with pytest.raises(IntegrityError):
        async with unit_of_work(engine) as work:
            await work.connection.execute(effect.insert().values(id="b"))
            await work.connection.execute(effect.insert().values(id="b"))
    assert await effects(engine) == set()


async def test_a_deadlock_passes(engine: AsyncEngine) -> None:
    """One of two transactions that wait for each other is refused with Transient.

    After its retry both keys are stored.
    """
    met = asyncio.Barrier(2)

    async def write(first: str, second: str) -> None:
        async with unit_of_work(engine) as work:
            await work.driver.execute(INSERT, first)
            await met.wait()
            await work.driver.execute(f"{INSERT} ON CONFLICT DO NOTHING", second)

    outcomes = await asyncio.gather(write("a", "b"), write("b", "a"), return_exceptions=True)
    assert [type(o) for o in outcomes if o is not None] == [Transient]
    assert await effects(engine) == {"a", "b"}


async def test_timeouts_are_transient(postgres: PostgresSettings) -> None:
    """A slow statement, an idle transaction and an unavailable lock are transient."""
    limited = postgres.model_copy(
        update={"statement_timeout_ms": 200, "idle_in_transaction_timeout_ms": 200}
    )
    engine = create_engine(limited, "test-limits")
    with pytest.raises(Transient, match="statement timeout"):
        async with unit_of_work(engine) as work:
            await work.driver.execute("SELECT pg_sleep(10)")
    with pytest.raises(Transient):
        async with unit_of_work(engine) as work:
            ended = asyncio.Event()

            async def note(_: object) -> None:
                ended.set()

            work.driver.add_termination_listener(note)
            async with asyncio.timeout(20):
                await ended.wait()
            await work.driver.execute("SELECT 1")
    await engine.dispose()


async def test_a_server_that_is_not_there_passes() -> None:
    """No server listens: Transient, and its text does not contain the password."""
    url = f"postgresql://somebody:hush-hush@{LOOPBACK}:{free_port()}/db"
    engine = create_engine(PostgresSettings(url=SecretStr(url)), "test-away")
    with pytest.raises(Transient) as trouble:
        async with unit_of_work(engine):
            pass
    assert "hush-hush" not in str(trouble.value)
    await engine.dispose()


async def test_sessions_are_named_and_in_utc(engine: AsyncEngine) -> None:
    """Take-overs recognise our sessions by this name; times are UTC whatever the server's zone."""
    async with unit_of_work(engine) as work:
        assert await work.driver.fetchval("SHOW application_name") == "ebbwatch-test"
        assert await work.driver.fetchval("SHOW timezone") == "UTC"
