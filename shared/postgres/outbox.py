"""The outbox: messages stored with a transaction's effects and sent after its commit.

Messages that records of one consumed topic-partition caused are stored together in parcels, one row
each, which makes writing and deleting them cheap. Only the worker that owns the partition sends
them, in order, one batch at a time. A crash between sending and deleting sends again: readers
recognise a message by its revision or id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import sqlalchemy as sa

from shared.contracts.dead_letter import Headers
from shared.observability.tracing import trace_for
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import TopicPartition

PARCEL_BYTES_MAX = 1_000_000
"""Bytes of one parcel's messages, unless it is a single larger one: a row is read, sent and deleted
as a whole."""

PENDING_PARCELS_MAX = 16
"""Parcels read at once when a new owner sends what the old one left: about 16 MB."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message to a topic.

    `tp` is the consumed topic-partition with the claim under which it is sent; `headers` are str
    -> bytes.
    """

    tp: TopicPartition
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """A parcel: messages of one partition, in order, with the id of their row."""

    id: int
    messages: Sequence[Message]


Packed = tuple[str, bytes | None, bytes | None, Headers]
"""Topic, key, value, headers."""
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[Packed])


def outbox_table(metadata: sa.MetaData) -> sa.Table:
    """Builds the outbox table of a service's schema."""
    return sa.Table(
        "outbox",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("cause_topic", sa.Text, nullable=False),
        sa.Column("cause_partition", sa.Integer, nullable=False),
        # Stored out of line, uncompressed: a parcel lives for one batch, and compressing costs
        # more.
        sa.Column("messages", sa.LargeBinary, nullable=False),
    )


class Outbox:
    """Statements on one schema's `outbox` table."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    async def add(self, work: UnitOfWork, messages: Sequence[Message]) -> list[Pending]:
        """Insert messages; returns the parcels so that they can be sent after the commit.

        The order of messages is kept within each partition. A message without headers gets the
        trace context of what caused it.
        """
        if not messages:
            return []
        parcels = list(_parcels([_traced(message) for message in messages]))
        rows = await work.driver.fetch(
            f"""
            INSERT INTO {self._schema}.outbox (cause_topic, cause_partition, messages)
            SELECT ct, cp, m FROM unnest($1::text[], $2::int[], $3::bytea[])
                   WITH ORDINALITY AS u(ct, cp, m, n) ORDER BY n
            RETURNING id
            """,  # noqa: S608
            [parcel[0].tp[0] for parcel in parcels],
            [parcel[0].tp[1] for parcel in parcels],
            [pack(parcel) for parcel in parcels],
        )
        ids = sorted(row["id"] for row in rows)
        return [Pending(i, parcel) for i, parcel in zip(ids, parcels, strict=True)]

    async def pending(self, work: UnitOfWork, tp: TopicPartition) -> list[Pending]:
        """Return what a former owner left unsent for this partition, oldest first.

        Never pages by an id cursor: a gap in the sequence may be a row not yet committed.
        """
        rows = await work.driver.fetch(
            f"SELECT id, messages FROM {self._schema}.outbox "  # noqa: S608
            "WHERE cause_topic = $1 AND cause_partition = $2 ORDER BY id LIMIT $3",
            tp[0],
            tp[1],
            PENDING_PARCELS_MAX,
        )
        return [Pending(row["id"], unpack(tp, row["messages"])) for row in rows]

    async def holds(self, work: UnitOfWork, ids: Sequence[int]) -> bool:
        """Return whether all these rows are still there."""
        count: int = await work.driver.fetchval(
            f"SELECT count(*) FROM {self._schema}.outbox WHERE id = ANY($1::bigint[])",  # noqa: S608
            list(ids),
        )
        return count == len(ids)

    async def delete(self, work: UnitOfWork, ids: Sequence[int]) -> None:
        """Delete messages that were sent and acknowledged."""
        if ids:
            await work.driver.execute(
                f"DELETE FROM {self._schema}.outbox WHERE id = ANY($1::bigint[])",  # noqa: S608
                list(ids),
            )


def pack(messages: Sequence[Message]) -> bytes:
    """Encodes a parcel's messages for storage."""
    return _ENCODER.encode([(m.topic, m.key, m.value, m.headers) for m in messages])


def unpack(tp: TopicPartition, packed: bytes) -> list[Message]:
    """Decodes the messages of a stored parcel."""
    return [Message(tp, *found) for found in _DECODER.decode(packed)]


def _traced(message: Message) -> Message:
    if message.headers or not (trace := trace_for(message.key)):
        return message
    return Message(message.tp, message.topic, message.key, message.value, trace)


def _parcels(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Groups messages by partition, in order of their first, into parcels of bounded size."""
    open_: dict[TopicPartition, list[Message]] = {}
    size: dict[TopicPartition, int] = {}
    for message in messages:
        tp = message.tp
        size[tp] = size.get(tp, 0) + len(message.key or b"") + len(message.value or b"")
        if size[tp] > PARCEL_BYTES_MAX and tp in open_:
            yield open_.pop(tp)
            size[tp] = len(message.value or b"")
        open_.setdefault(tp, []).append(message)
    yield from open_.values()
