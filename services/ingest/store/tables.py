"""Ingest's tables: dead-letter partitions, tokens, dead letters, stops, mappings, answers."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from shared.http.access import token_table
from shared.postgres.audit import audit_table
from shared.postgres.erasures import erasure_tables
from shared.postgres.ledger import partition_table
from shared.postgres.unfinished import unfinished_table

SCHEMA = "ingest"
TZ = sa.DateTime(timezone=True)

metadata = sa.MetaData(schema=SCHEMA)
partition = partition_table(metadata)
unfinished = unfinished_table(metadata)
api_token = token_table(metadata)
erasure, erasure_key = erasure_tables(metadata)
audit = audit_table(metadata)

dead_letter = sa.Table(
    "dead_letter",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("origin_topic", sa.Text, nullable=False),
    sa.Column("origin_partition", sa.Integer, nullable=False),
    sa.Column("origin_offset", sa.BigInteger, nullable=False),
    sa.Column("key", sa.LargeBinary),
    sa.Column("value", sa.LargeBinary),
    # Names are bytes too: PostgreSQL's text cannot hold every name that Kafka's can.
    sa.Column("header_names", postgresql.ARRAY(sa.LargeBinary), nullable=False),
    sa.Column("header_values", postgresql.ARRAY(sa.LargeBinary), nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("recorded_at", TZ, nullable=False),
    sa.Column("settled_at", TZ),
    sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
    sa.Column("settled_by", sa.Text),
    sa.Column("settled_why", sa.Text),
    sa.Column("producer", sa.Text),
    sa.Column("arrived_ms", sa.BigInteger),
    sa.Column("replay_of", sa.BigInteger),
    sa.Column("dropped_at", TZ),
    sa.UniqueConstraint(
        "origin_topic", "origin_partition", "origin_offset", name="uq_dead_letter_origin"
    ),
    sa.Index(
        "ix_dead_letter_waiting",
        "id",
        postgresql_where=sa.text("state = 'waiting'"),
    ),
    sa.Index(
        "ix_dead_letter_settled",
        "settled_at",
        postgresql_where=sa.text("settled_at IS NOT NULL AND dropped_at IS NULL"),
    ),
    sa.Index(
        "ix_dead_letter_replay_of",
        "replay_of",
        postgresql_where=sa.text("replay_of IS NOT NULL"),
    ),
)
"""Records that could not be accepted, whole, with the reason. `state`: waiting, replayed or
discarded; a settled one loses its content (`dropped_at`) some time later."""

source_clock = sa.Table(
    "source_clock",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("accepted", sa.BigInteger, nullable=False),
    sa.Column("future", sa.BigInteger, nullable=False),
    sa.Column("newest_at", TZ),
    sa.Column("median_s", sa.Double),
    sa.Column("spread_s", sa.Double),
    sa.Column("updated_at", TZ, nullable=False),
)
"""Events of each source by the day (UTC) of their arrival, with its newest median skew."""

intake_stop = sa.Table(
    "intake_stop",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("stopped_at", TZ, nullable=False),
    sa.Column("resumed_at", TZ),
)
"""When a flood of refusals stopped the intake, and when an operator resumed it."""

mapping = sa.Table(
    "mapping",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("topics", sa.ARRAY(sa.Text, as_tuple=True), nullable=False),
    sa.Column("http_sources", sa.ARRAY(sa.Text, as_tuple=True), nullable=False),
    sa.Column("created_at", TZ, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("note", sa.Text),
)
"""Every version of every mapping; the newest of a name is in force."""

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.SmallInteger),
    sa.Column("body", sa.LargeBinary),
    sa.Column("created_at", TZ, nullable=False),
    sa.Index("ix_idempotency_created", "created_at"),
)
"""The answers to requests with an `Idempotency-Key`; none while such a request is in progress."""
