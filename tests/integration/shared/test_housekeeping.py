"""Time-partitioned tables: partitions made ahead, filled from the rest, and dropped by retention.

One process at a time does this.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.kernel.errors import Transient
from shared.postgres import housekeeping
from shared.postgres.engine import unit_of_work
from shared.postgres.housekeeping import Housekeeping, Kept, TimeTable, next_start, start_of
from shared.postgres.roles import partition_functions
from tests.fakes.clock import SetClock
from tests.integration.shared.tables import SCHEMA

pytestmark = pytest.mark.stack

NAME = f"{SCHEMA}.seen"
DAYS = TimeTable(NAME, "at", "day", retention_days=10)
MADE = f"""
    CREATE TABLE {NAME} (at timestamptz NOT NULL, number int NOT NULL) PARTITION BY RANGE (at);
    CREATE INDEX seen_number ON {NAME} (number);
    CREATE TABLE {NAME}_rest PARTITION OF {NAME} DEFAULT;
"""


@pytest.fixture
async def table(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Provide an engine on a database with one time-partitioned table that has only its rest."""
    async with unit_of_work(engine) as work:
        await work.driver.execute(MADE)
        for statement in partition_functions(SCHEMA):
            await work.driver.execute(statement)
    yield engine


class Keeper:
    """Housekeeping of that table with its own clock; keeps the reports."""

    def __init__(self, engine: AsyncEngine, table: TimeTable = DAYS) -> None:
        self.clock = SetClock()
        self.told: list[Kept] = []
        self.keeping = Housekeeping(engine, self.clock, [table], self.told.append)

    async def look(self) -> Kept:
        """Run housekeeping once; return its report."""
        await self.keeping.once()
        return self.told[-1]


async def insert(engine: AsyncEngine, *rows: tuple[datetime, int]) -> None:
    async with unit_of_work(engine) as work:
        await work.driver.executemany(f"INSERT INTO {NAME} VALUES ($1, $2)", rows)  # noqa: S608


async def where(engine: AsyncEngine) -> dict[int, str]:
    """Return the partition of each number, without the schema."""
    async with unit_of_work(engine) as work:
        found = await work.driver.fetch(f"SELECT number, tableoid::regclass::text FROM {NAME}")  # noqa: S608
    return {row[0]: row[1].removeprefix(f"{NAME}_") for row in found}


async def test_partitions_are_made_ahead(table: AsyncEngine) -> None:
    """A row of now and of the next days finds its partition; a second run creates nothing."""
    keeper = Keeper(table)
    now = keeper.clock.now()
    first = await keeper.look()
    assert first.partitions == 1 + housekeeping.PERIODS_AHEAD
    assert first.ahead_until == start_of(now, "day") + timedelta(days=4)
    assert not first.rest_rows
    await insert(table, (now, 1), (now + timedelta(days=3), 2), (now + timedelta(days=4), 3))
    assert await where(table) == {
        1: f"{now:%Y%m%d}",
        2: f"{now + timedelta(days=3):%Y%m%d}",
        3: "rest",
    }
    second = await keeper.look()
    assert (second.partitions, second.rest_rows, second.dropped) == (4, True, 0)
    keeper.clock.pass_by(timedelta(days=1))
    third = await keeper.look()
    assert (third.partitions, third.rest_rows) == (5, False)
    assert (await where(table))[3] == f"{now + timedelta(days=4):%Y%m%d}"


async def test_what_lay_in_the_rest_finds_its_place(table: AsyncEngine) -> None:
    """Housekeeping has not run for a while: no row is lost, and each gets the partition of its day.

    The partitions have the indexes of the table.
    """
    keeper = Keeper(table)
    now = keeper.clock.now()
    await insert(table, *((now - timedelta(days=n), n) for n in range(6)))
    assert set((await where(table)).values()) == {"rest"}
    kept = await keeper.look()
    assert kept.partitions == 6 + housekeeping.PERIODS_AHEAD
    assert await where(table) == {n: f"{now - timedelta(days=n):%Y%m%d}" for n in range(6)}
    async with unit_of_work(table) as work:
        valid = await work.driver.fetchval(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = $1::text::regclass",
            f"{SCHEMA}.seen_number",
        )
    assert valid


async def test_dropped_by_retention(table: AsyncEngine) -> None:
    """A day is dropped once its newest possible row is older than the retention, and not before."""
    keeper = Keeper(table)
    now = keeper.clock.now()
    await keeper.look()
    await insert(table, (now, 1), (now + timedelta(days=1), 2))
    midnight = start_of(now, "day") + timedelta(days=1)
    keeper.clock.pass_by(midnight + timedelta(days=10) - now - timedelta(seconds=1))
    assert (await keeper.look()).dropped == 0
    assert set(await where(table)) == {1, 2}
    keeper.clock.pass_by(timedelta(seconds=1))
    assert (await keeper.look()).dropped == 1
    assert set(await where(table)) == {2}


async def test_one_at_a_time(table: AsyncEngine) -> None:
    """Six replicas run at once: each partition is created once, and no replica fails."""
    keepers = [Keeper(table) for _ in range(6)]
    await insert(table, (keepers[0].clock.now(), 1))
    await asyncio.gather(*(keeper.look() for keeper in keepers))
    kept = await keepers[0].look()
    assert kept.partitions == 1 + housekeeping.PERIODS_AHEAD
    assert len(await where(table)) == 1


async def test_writers_go_on_meanwhile(table: AsyncEngine) -> None:
    """Rows are inserted while the first partitions are made: all are stored, none in the rest."""
    keeper = Keeper(table)
    now = keeper.clock.now()

    async def write(first: int) -> None:
        for number in range(first, first + 50):
            await insert(table, (now, number))

    await asyncio.gather(write(0), write(100), keeper.look(), write(200))
    await keeper.look()
    found = await where(table)
    assert len(found) == 150
    assert set(found.values()) == {f"{now:%Y%m%d}"}


async def test_a_long_reader_makes_it_wait(
    table: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session reads the table for long: after a bounded wait housekeeping raises Transient.

    Rows that are written meanwhile lie in the rest, and the next run moves them.
    """
    monkeypatch.setattr(housekeeping, "LOCK_TIMEOUT_MS", 100)
    keeper = Keeper(table)
    await keeper.look()
    keeper.clock.pass_by(timedelta(days=20))
    async with unit_of_work(table) as work:
        await work.driver.fetch(f"SELECT * FROM {NAME}")  # noqa: S608
        with pytest.raises(Transient):
            await keeper.look()
        await insert(table, (keeper.clock.now(), 1))
    assert await where(table) == {1: "rest"}
    assert (await keeper.look()).dropped == 4
    assert await where(table) == {1: f"{keeper.clock.now():%Y%m%d}"}


async def test_months_of_any_length_have_their_partition() -> None:
    """Calendar months of any length, in UTC."""
    at = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert start_of(at, "month") == datetime(2026, 12, 1, tzinfo=UTC)
    assert next_start(start_of(at, "month"), "month") == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_start(datetime(2028, 2, 1, tzinfo=UTC), "month") == datetime(2028, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["seen", "a.b; DROP TABLE x", "A.b", "a.b.c"])
async def test_names_are_plain(name: str, engine: AsyncEngine) -> None:
    """Names are used in statements without quoting."""
    del engine
    with pytest.raises(ValueError, match="no plain name"):
        TimeTable(name, "at", "day", 1)


async def test_a_table_that_is_not_there(engine: AsyncEngine) -> None:
    """A missing table is a bug and raises no Transient."""
    with pytest.raises(asyncpg.UndefinedTableError):
        await Keeper(engine).look()
