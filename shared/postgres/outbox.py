"""Messages that leave with a transaction: written with the effects, sent after the commit.

Rows belong to a partition of the topic that caused them; only the worker that owns this
partition sends them, in order, one batch in flight. A crash between sending and deleting
sends again: readers know a message by its revision or id.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from shared.contracts.dead_letter import Headers
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import TopicPartition

PENDING_ROWS_MAX = 5_000
"""Rows read at once when a new owner sends what the old one left; about 10 MB."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message to a topic. `cause` is the consumed topic-partition under whose claim it
    is sent; `headers` are str -> bytes."""

    cause: TopicPartition
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """A message with its row id."""

    id: int
    message: Message


def outbox_table(metadata: sa.MetaData) -> sa.Table:
    """The outbox of a service's schema."""
    return sa.Table(
        "outbox",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("cause_topic", sa.Text, nullable=False),
        sa.Column("cause_partition", sa.Integer, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", sa.LargeBinary),
        sa.Index("ix_outbox_cause", "cause_topic", "cause_partition", "id"),
    )


class Outbox:
    """Statements on one schema's `outbox` table."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    async def add(self, work: UnitOfWork, messages: Sequence[Message]) -> list[Pending]:
        """Insert in order; returns the rows so that they can be sent after the commit."""
        if not messages:
            return []
        rows = await work.driver.fetch(
            f"""
            INSERT INTO {self._schema}.outbox
                   (cause_topic, cause_partition, topic, key, value, headers)
            SELECT ct, cp, t, k, v, h
              FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[])
                   WITH ORDINALITY AS u(ct, cp, t, k, v, h, n) ORDER BY n
            RETURNING id
            """,  # noqa: S608
            [m.cause[0] for m in messages],
            [m.cause[1] for m in messages],
            [m.topic for m in messages],
            [m.key for m in messages],
            [m.value for m in messages],
            [_pack(m.headers) for m in messages],
        )
        ids = sorted(row["id"] for row in rows)
        return [Pending(i, m) for i, m in zip(ids, messages, strict=True)]

    async def pending(self, work: UnitOfWork, tp: TopicPartition) -> list[Pending]:
        """What a former owner left unsent for this partition, oldest first.

        Never pages by an id cursor: a gap in the sequence may be a row not yet committed.
        """
        rows = await work.driver.fetch(
            f"SELECT * FROM {self._schema}.outbox WHERE cause_topic = $1 AND cause_partition = $2 "  # noqa: S608
            "ORDER BY id LIMIT $3",
            tp[0],
            tp[1],
            PENDING_ROWS_MAX,
        )
        return [
            Pending(
                row["id"],
                Message(tp, row["topic"], row["key"], row["value"], _unpack(row["headers"])),
            )
            for row in rows
        ]

    async def delete(self, work: UnitOfWork, ids: Sequence[int]) -> None:
        """Forget messages that were sent and acknowledged."""
        if ids:
            await work.driver.execute(
                f"DELETE FROM {self._schema}.outbox WHERE id = ANY($1::bigint[])",  # noqa: S608
                list(ids),
            )


def _pack(headers: Headers) -> bytes | None:
    return orjson.dumps([(k, v.hex()) for k, v in headers]) if headers else None


def _unpack(packed: bytes | None) -> Headers:
    return tuple((k, bytes.fromhex(v)) for k, v in orjson.loads(packed)) if packed else ()
