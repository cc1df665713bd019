"""Operator command `held`: which data are stored, since when, how much, and until when."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.topics import Topic
from shared.postgres.engine import Driver, reading
from shared.runtime.command_line import ServiceSpec, on_database

UNTIL_ERASED: Final = "until the customer is erased"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of data: a table, and what bounds its age."""

    what: str
    table: str
    """Name without the schema."""
    since: str | None
    """Column with the time by which it ages; None: it does not age."""
    kept: str
    """Days and the setting, or what ends it."""


def for_days(days: int, setting: str) -> str:
    """Returns in words how long data are kept, and by which setting."""
    return f"{days:,} days ({setting})"


@dataclass(frozen=True, slots=True)
class Held:
    """What is stored of a kind."""

    rows: int
    """Estimated by PostgreSQL's last ANALYZE; 0 before the first."""
    bytes: int
    oldest: datetime | None


async def held(driver: Driver, schema: str, kind: Kind) -> Held:
    """Return what is stored of a kind, with its partitions and indexes."""
    size = await driver.fetchrow(
        """
        SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes,
               coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint AS rows
          FROM pg_partition_tree($1::regclass) p JOIN pg_class c ON c.oid = p.relid
         WHERE p.isleaf
        """,
        f"{schema}.{kind.table}",
    )
    oldest = None
    if kind.since is not None:
        query = f"SELECT min({kind.since}) FROM {schema}.{kind.table}"  # noqa: S608 (our own names)
        oldest = await driver.fetchval(query)
    rows, size_bytes = (0, 0) if size is None else (size["rows"], size["bytes"])
    return Held(rows, size_bytes, oldest)


def add_commands(
    spec: ServiceSpec,
    kinds: Callable[[], Sequence[Kind]],
    topics: Sequence[Topic],
    commands: Any,
) -> None:
    """Add the command; `kinds` reads the settings, so that other commands need none.

    `topics`: those that the service writes.
    """

    async def show(_: argparse.Namespace, engine: AsyncEngine) -> int:
        async with reading(engine) as driver:
            await driver.execute("SET statement_timeout = 0")
            for kind in kinds():
                found = await held(driver, spec.schema, kind)
                since = "-" if found.oldest is None else f"since {found.oldest:%F}"
                size = f"{found.bytes / 1e6:,.1f} MB"
                print(f"{kind.what:<44} {found.rows:>12,} {size:>13}  {since:<16}  {kind.kept}")
        for topic in topics:
            days = None if topic.retention is None else topic.retention.days
            kept = UNTIL_ERASED if days is None else f"{days} days (retention.ms, as it is made)"
            print(f"{'topic ' + topic.name:<89}  {kept}")
        return 0

    parser = commands.add_parser(
        "held",
        help="which data are stored, since when, how much, and until when",
        description="Rows are PostgreSQL's estimate; the size includes indexes.",
    )
    parser.set_defaults(command=on_database(spec, show))
