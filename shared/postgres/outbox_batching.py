"""Migration step of a service that puts the outbox's messages into parcels."""

import orjson
import sqlalchemy as sa
from alembic import op

from shared.postgres.outbox import Message, pack


def upgrade(schema: str) -> None:
    """Convert the table; each waiting message becomes a parcel of its own, in order."""
    op.add_column("outbox", sa.Column("messages", sa.LargeBinary), schema=schema)
    connection = op.get_bind()
    rows = connection.exec_driver_sql(
        f"SELECT id, cause_topic, cause_partition, topic, key, value, headers FROM {schema}.outbox"  # noqa: S608
    )
    for number, topic, partition, to, key, value, headers in rows.all():
        packed = pack([Message((topic, partition), to, key, value, _headers(headers))])
        connection.execute(
            sa.text(f"UPDATE {schema}.outbox SET messages = :packed WHERE id = :number"),  # noqa: S608
            {"packed": packed, "number": number},
        )
    for column in ("topic", "key", "value", "headers"):
        op.drop_column("outbox", column, schema=schema)
    # Few rows at any time: a query for one cause reads them all.
    op.drop_index("ix_outbox_cause", "outbox", schema=schema)
    op.alter_column("outbox", "messages", nullable=False, schema=schema)
    op.execute(f"ALTER TABLE {schema}.outbox ALTER COLUMN messages SET STORAGE EXTERNAL")


def _headers(packed: bytes | None) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((k, bytes.fromhex(v)) for k, v in orjson.loads(packed)) if packed else ()
