"""Maintains tables partitioned by time: makes partitions ahead, drops them after a retention.

A table is `PARTITION BY RANGE` on an instant of recording (never of business) with a DEFAULT
partition named `<table>_rest`, so that no insert fails for lack of a partition. Functions with the
owner's rights (`roles`) change the partitions: the service itself may not. One replica works at a
time (an advisory lock), the others only read. Dropping a partition costs nothing; deleting its rows
would cost a vacuum.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import Driver, UnitOfWork, unit_of_work
from shared.runtime.clock import Clock
from shared.runtime.loop import repeat
from shared.runtime.service import Stop

Period = Literal["day", "month"]

PERIODS_AHEAD = 3
"""Partitions made in advance: for so many periods maintenance may be missing."""

PERIODS_BACK_MAX = 120
"""Partitions made at once for rows that lie in the rest: ten years of months."""

EVERY_S = 3_600.0
"""Seconds between two runs: far below the shortest period."""

RETRY_S = 30.0
"""Seconds to wait after an error that passes, such as a lock that another session keeps."""

LOCK_TIMEOUT_MS = 2_000
"""How long to wait for a table's lock. Writers to the table wait behind us meanwhile."""

MOVE_MS_MAX = 600_000
"""How long moving rows out of the rest may take: once, after an outage or an upgrade."""

LOCK_CLASS = 0x65626268
"""'ebbh': first half of the advisory lock key; the second is a hash of the table's name."""

_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_UPPER_BOUND = re.compile(r"TO \('([^']+)'\)")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TimeTable:
    """A table partitioned by the range of `key`, and how long its rows are kept."""

    name: str
    """Name with its schema."""
    key: str
    period: Period
    retention_days: int
    """A partition is dropped once its newest possible row is older."""

    def __post_init__(self) -> None:
        """Raise ValueError unless the names are plain: they go into statements unquoted."""
        if not _NAME.fullmatch(self.name) or not self.key.isidentifier():
            raise ValueError(f"{self.name}.{self.key} is no plain name of a table and a column")

    @property
    def rest(self) -> str:
        """The partition of rows that have no other."""
        return f"{self.name}_rest"


@dataclass(frozen=True, slots=True)
class Kept:
    """A table's state after maintenance."""

    table: TimeTable
    partitions: int
    """Number of partitions, without the rest."""
    ahead_until: datetime | None
    """Up to here every row has a partition; None where there is none yet."""
    rest_rows: bool
    """Whether rows lie in the rest, waiting for a partition."""
    dropped: int
    """Partitions dropped by this run."""


def start_of(at: datetime, period: Period) -> datetime:
    """Returns the start of the period that contains `at`, UTC."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.replace(day=1) if period == "month" else day


def next_start(start: datetime, period: Period) -> datetime:
    """Returns the start of the period after the one that begins at `start`."""
    return start_of(start + timedelta(days=32 if period == "month" else 1), period)


def periods_to_keep(
    since: datetime, now: datetime, period: Period
) -> list[tuple[datetime, datetime]]:
    """Returns [start, end) of each period from that of `since` to `PERIODS_AHEAD` after `now`.

    >>> day = datetime(2026, 1, 31, tzinfo=UTC)
    >>> [f"{a:%m-%d} {b:%m-%d}" for a, b in periods_to_keep(day, day, "day")]
    ['01-31 02-01', '02-01 02-02', '02-02 02-03', '02-03 02-04']
    """
    found: list[tuple[datetime, datetime]] = []
    start = start_of(min(since, now), period)
    ahead = PERIODS_AHEAD
    while ahead >= 0 and len(found) < PERIODS_BACK_MAX + PERIODS_AHEAD:
        end = next_start(start, period)
        found.append((start, end))
        ahead -= start >= start_of(now, period)
        start = end
    return found


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Maintains the tables of one service; `observe` is called with the state of each."""

    engine: AsyncEngine
    clock: Clock
    tables: Sequence[TimeTable]
    observe: Callable[[Kept], None]

    async def once(self) -> None:
        """Maintain every table now; Transient where a lock is not free."""
        for table in self.tables:
            self.observe(await self._keep(table))

    async def watch(self, stop: Stop) -> None:
        """Maintain the tables now, and repeatedly until stopped."""
        await repeat(self.once, stop, "housekeeping", EVERY_S, at_once=True, retry_s=RETRY_S)

    async def _keep(self, table: TimeTable) -> Kept:
        now = self.clock.now()
        dropped = 0
        async with unit_of_work(self.engine) as work:
            if await _lock_taken(work, table):
                await _make(work.driver, table, now)
        # Separate from making: dropping needs the whole table's lock, and may have to wait.
        async with unit_of_work(self.engine) as work:
            if await _lock_taken(work, table):
                dropped = await _drop(work.driver, table, now)
        async with unit_of_work(self.engine) as work:
            ends = await _ends(work.driver, table)
            waiting = await work.driver.fetchval(f"SELECT EXISTS (SELECT FROM {table.rest})")  # noqa: S608
        until = max(ends.values(), default=None)
        return Kept(table, len(ends), until, bool(waiting), dropped)


async def _lock_taken(work: UnitOfWork, table: TimeTable) -> bool:
    """Returns whether no other process maintains the table; locks it until the transaction ends."""
    await work.driver.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    await work.driver.execute(f"SET LOCAL statement_timeout = {MOVE_MS_MAX}")
    lock = "SELECT pg_try_advisory_xact_lock($1, hashtext($2))"
    return bool(await work.driver.fetchval(lock, LOCK_CLASS, table.name))


async def _ends(driver: Driver, table: TimeTable) -> dict[str, datetime]:
    """Maps each partition, without the rest, to the end of its range."""
    rows = await driver.fetch(
        """
        SELECT c.oid::regclass::text AS name, pg_get_expr(c.relpartbound, c.oid) AS bound
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = $1::text::regclass
        """,
        table.name,
    )
    found = {}
    for row in rows:
        if (bound := _UPPER_BOUND.search(row["bound"])) is not None:
            # The session's time zone is UTC, and PostgreSQL writes its offset as `+00`.
            found[str(row["name"])] = datetime.fromisoformat(bound[1]).astimezone(UTC)
    return found


async def _make(driver: Driver, table: TimeTable, now: datetime) -> None:
    """Makes partitions from the oldest row of the rest to some ahead, and moves the rest's rows.

    A partition is filled and then attached: CREATE ... PARTITION OF would block every reader.
    Writers wait meanwhile, before they have chosen a partition: one that has chosen the rest, and
    waited for its lock, would fail when the rest gives up that range.
    """
    have = set((await _ends(driver, table)).values())
    oldest = await driver.fetchval(f"SELECT min({table.key}) FROM {table.rest}")  # noqa: S608
    schema, _, parent = table.name.partition(".")
    make = f"SELECT {schema}.make_partition($1, $2, $3, $4)"
    for start, end in periods_to_keep(oldest or now, now, table.period):
        if end not in have:
            await driver.execute(make, parent, table.key, start, end)
            log.info("partition made", table=table.name, start=f"{start:%F}")


async def _drop(driver: Driver, table: TimeTable, now: datetime) -> int:
    oldest = now - timedelta(days=table.retention_days)
    ends = await _ends(driver, table)
    gone = [name for name, end in ends.items() if end <= oldest]
    schema, _, parent = table.name.partition(".")
    for name in gone:
        drop = f"SELECT {schema}.drop_partition($1, $2, $3)"
        await driver.execute(drop, parent, name.removeprefix(f"{schema}."), oldest)
        log.info("partition dropped", partition=name, retention_days=table.retention_days)
    return len(gone)
