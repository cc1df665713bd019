"""Erasures of customers: what was requested and done, and a mark that remains of each.

The mark is a keyed hash of the customer's id with the time of the request. It lets a service drop
what arrives later and is older than the request (a replay, a repeated import, a late duplicate),
while the same person may come back as a new customer. The key is random, made by the migration and
stored beside the marks: a mark alone does not show whose it is.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.postgres.engine import UnitOfWork

HASH_BYTES: Final = 16
"""Bytes of a mark: two customers share one with a probability of 1 in 10^24 among 10^7."""


@dataclass(frozen=True, slots=True)
class Erased:
    """One service's part in an erasure."""

    request_id: str
    requested_at: datetime
    done_at: datetime | None
    """When this service had deleted everything; None: some of it still waits."""
    rows: dict[str, int]
    """Rows deleted or made anonymous, by table; empty where this service knew no such customer."""


def erasure_tables(metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    """Builds the tables in a service's schema."""
    return (
        sa.Table("erasure", metadata, *_erasure()),
        sa.Table("erasure_key", metadata, *_key()),
    )


def upgrade(schema: str) -> None:
    """Create the tables and the key, in a migration."""
    op.create_table("erasure", *_erasure(), schema=schema)
    op.create_table("erasure_key", *_key(), schema=schema)
    op.execute(
        f"INSERT INTO {schema}.erasure_key (key) SELECT "
        "uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"
    )


def _erasure() -> list[sa.schema.SchemaItem]:
    time = sa.DateTime(timezone=True)
    return [
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("mark", sa.LargeBinary, nullable=False),
        sa.Column("requested_at", time, nullable=False),
        sa.Column("begun_at", time),
        sa.Column("done_at", time),
        sa.Column("rows", postgresql.JSONB, nullable=False, server_default="{}"),
        # Topics in which nothing older than the erasure follows any more.
        sa.Column("passed", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        # Only until the erasure is done.
        sa.Column("customer_id", sa.Text),
        sa.Index("ix_erasure_mark", "mark"),
        sa.Index("ix_erasure_requested_at", "requested_at"),
    ]


def _key() -> list[sa.Column[Any]]:
    return [sa.Column("key", sa.LargeBinary, primary_key=True)]


class Erasures:
    """Statements on one schema's tables, within an open transaction."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._key: bytes | None = None

    async def of_older(
        self, work: UnitOfWork, events: Iterable[tuple[str, datetime]]
    ) -> dict[str, datetime]:
        """Return the newest erasure of each customer who may have an event from before it.

        Live events are newer than the newest erasure of all: then this is one tiny query.
        """
        query = f"SELECT max(requested_at) FROM {self._schema}.erasure"  # noqa: S608
        newest: datetime | None = await work.driver.fetchval(query)
        if newest is None:
            return {}
        return await self.marked(work, {customer for customer, at in events if at < newest})

    async def marked(self, work: UnitOfWork, customers: Collection[str]) -> dict[str, datetime]:
        """Return the time of the newest erasure of each of these customers that was erased."""
        if not customers:
            return {}
        by_mark = await self._marks(work, customers)
        rows = await work.driver.fetch(
            f"SELECT mark, max(requested_at) AS at FROM {self._schema}.erasure "  # noqa: S608
            "WHERE mark = ANY($1::bytea[]) GROUP BY mark",
            list(by_mark),
        )
        return {by_mark[row["mark"]]: row["at"] for row in rows}

    async def begin(
        self,
        work: UnitOfWork,
        request_id: str,
        customer: str,
        requested_at: datetime,
        now: datetime,
    ) -> bool:
        """Store that the erasure begins; return False where it has begun before."""
        status = await work.driver.execute(
            f"INSERT INTO {self._schema}.erasure AS e "  # noqa: S608
            "(request_id, mark, requested_at, begun_at, customer_id) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT (request_id) DO UPDATE SET begun_at = excluded.begun_at, "
            "customer_id = excluded.customer_id WHERE e.begun_at IS NULL",
            request_id,
            await self.mark(work, customer),
            requested_at,
            now,
            customer,
        )
        return bool(status.endswith(" 1"))

    async def add_rows(self, work: UnitOfWork, request_id: str, rows: Mapping[str, int]) -> None:
        """Add to the counts of deleted rows."""
        found = await self.find(work, request_id)
        counts = dict(found.rows) if found else {}
        for table, count in rows.items():
            if count:
                counts[table] = counts.get(table, 0) + count
        await work.driver.execute(
            f"UPDATE {self._schema}.erasure SET rows = $2::text::jsonb "  # noqa: S608
            "WHERE request_id = $1",
            request_id,
            msgspec.json.encode(counts).decode(),
        )

    async def finish(self, work: UnitOfWork, request_id: str, now: datetime) -> None:
        """Store that everything was deleted, and forget the customer's id."""
        await work.driver.execute(
            f"UPDATE {self._schema}.erasure SET done_at = $2, customer_id = NULL "  # noqa: S608
            "WHERE request_id = $1",
            request_id,
            now,
        )

    async def unfinished(
        self, work: UnitOfWork, limit: int, begun_before: datetime | None = None
    ) -> dict[str, str]:
        """Return the customers of erasures that are not done, by request; locks them."""
        rows = await work.driver.fetch(
            f"SELECT request_id, customer_id FROM {self._schema}.erasure "  # noqa: S608
            "WHERE done_at IS NULL AND customer_id IS NOT NULL "
            "AND ($2::timestamptz IS NULL OR begun_at < $2) "
            "ORDER BY begun_at LIMIT $1 FOR UPDATE SKIP LOCKED",
            limit,
            begun_before,
        )
        return {row["request_id"]: row["customer_id"] for row in rows}

    async def passed(
        self, work: UnitOfWork, topic: str, request_id: str, customer: str, requested_at: datetime
    ) -> None:
        """Store that in this topic nothing of the customer from before the erasure follows."""
        await work.driver.execute(
            f"INSERT INTO {self._schema}.erasure AS e "  # noqa: S608
            "(request_id, mark, requested_at, passed) VALUES ($1, $2, $3, ARRAY[$4]) "
            "ON CONFLICT (request_id) DO UPDATE SET passed = array_append(e.passed, $4) "
            "WHERE $4 <> ALL(e.passed)",
            request_id,
            await self.mark(work, customer),
            requested_at,
            topic,
        )

    async def awaited(
        self, work: UnitOfWork, topic: str, customers: Collection[str]
    ) -> frozenset[str]:
        """Return the erased customers of whom older messages may still follow in this topic.

        That is so for moments only: usually this is one small query.
        """
        waiting = await work.driver.fetchval(
            f"SELECT EXISTS (SELECT 1 FROM {self._schema}.erasure "  # noqa: S608
            "WHERE begun_at IS NOT NULL AND $1 <> ALL(passed))",
            topic,
        )
        if not waiting or not customers:
            return frozenset()
        by_mark = await self._marks(work, customers)
        rows = await work.driver.fetch(
            f"SELECT DISTINCT mark FROM {self._schema}.erasure WHERE mark = ANY($1::bytea[]) "  # noqa: S608
            "AND begun_at IS NOT NULL AND $2 <> ALL(passed)",
            list(by_mark),
            topic,
        )
        return frozenset(by_mark[row["mark"]] for row in rows)

    async def find(self, work: UnitOfWork, request_id: str) -> Erased | None:
        """Return what this service has done for a request; None: it was not received yet."""
        row = await work.driver.fetchrow(
            f"SELECT request_id, requested_at, done_at, rows::text FROM {self._schema}.erasure "  # noqa: S608
            "WHERE request_id = $1 AND begun_at IS NOT NULL",
            request_id,
        )
        if row is None:
            return None
        rows = msgspec.json.decode(row["rows"], type=dict[str, int])
        return Erased(row["request_id"], row["requested_at"], row["done_at"], rows)

    async def mark(self, work: UnitOfWork, customer: str) -> bytes:
        """Return the mark of a customer, whether erased or not."""
        (mark,) = await self._marks(work, [customer])
        return mark

    async def _marks(self, work: UnitOfWork, customers: Collection[str]) -> dict[bytes, str]:
        if self._key is None:
            query = f"SELECT key FROM {self._schema}.erasure_key"  # noqa: S608
            self._key = bytes(await work.driver.fetchval(query))
        key = self._key
        return {
            hashlib.blake2b(
                name.encode("utf-8", "surrogatepass"), key=key, digest_size=HASH_BYTES
            ).digest(): name
            for name in customers
        }
