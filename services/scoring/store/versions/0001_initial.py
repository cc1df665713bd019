"""Scoring's tables as they began."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "scoring_0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "scoring"
TZ = sa.DateTime(timezone=True)
KEY_PARTITIONS = 16
"""Hash partitions of the event keys: keeps each index small enough to stay cached."""


def upgrade() -> None:
    """Create everything."""
    _create_shared()
    _create_events()
    _create_customers()
    _create_assessments()


def _create_shared() -> None:
    op.create_table(
        "partition",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("next_offset", sa.BigInteger),
        sa.Column("fingerprint_ms", sa.BigInteger),
        sa.Column("fingerprint_digest", sa.LargeBinary),
        sa.Column("progress", sa.Text, nullable=False, server_default="{}"),
        sa.Column("status", sa.Text, nullable=False, server_default="running"),
        sa.Column("status_reason", sa.Text),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("claimed_at", TZ, nullable=False),
        sa.Column("moved_at", TZ),
        schema=SCHEMA,
        postgresql_with={"fillfactor": 20},
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("cause_topic", sa.Text, nullable=False),
        sa.Column("cause_partition", sa.Integer, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", sa.LargeBinary),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_outbox_cause", "outbox", ["cause_topic", "cause_partition", "id"], schema=SCHEMA
    )
    op.create_table(
        "api_token",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        sa.Column("revoked_at", TZ),
        schema=SCHEMA,
    )


def _create_events() -> None:
    op.create_table(
        "event_key",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("recorded_on", sa.Date, nullable=False),
        schema=SCHEMA,
        postgresql_partition_by="HASH (customer_id)",
    )
    for i in range(KEY_PARTITIONS):
        op.execute(
            f"CREATE TABLE {SCHEMA}.event_key_{i:02} PARTITION OF {SCHEMA}.event_key "
            f"FOR VALUES WITH (MODULUS {KEY_PARTITIONS}, REMAINDER {i})"
        )
    op.create_table(
        "event",
        sa.Column("recorded_at", TZ, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("original_customer_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("time", TZ, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
        postgresql_partition_by="RANGE (recorded_at)",
    )
    op.execute(f"CREATE TABLE {SCHEMA}.event_rest PARTITION OF {SCHEMA}.event DEFAULT")


def _create_customers() -> None:
    op.create_table(
        "customer_state",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("feature_set", sa.SmallInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
        postgresql_with={"fillfactor": 60},
    )
    # States are dense binary: compressing them costs time and saves nothing.
    op.execute(f"ALTER TABLE {SCHEMA}.customer_state ALTER COLUMN state SET STORAGE EXTERNAL")
    op.create_table(
        "timer",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("due_at", TZ, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_timer_due", "timer", ["partition", "due_at"], schema=SCHEMA)
    op.create_table(
        "profile",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("changed_at", TZ, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("profile", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
    )


def _assessment_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("assessed_at", TZ, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("band", sa.SmallInteger, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("feature_set", sa.SmallInteger, nullable=False),
        sa.Column("features", sa.LargeBinary, nullable=False),
    ]


def _create_assessments() -> None:
    op.create_table(
        "assessment",
        sa.Column("customer_id", sa.Text, primary_key=True),
        *_assessment_columns(),
        sa.Column("look_at", TZ, nullable=False),
        sa.Column("published_at", TZ),
        sa.Column("published_probability", sa.Float),
        sa.Column("published_band", sa.SmallInteger),
        sa.Column("published_reason", sa.Text),
        schema=SCHEMA,
        postgresql_with={"fillfactor": 60},
    )
    op.create_table(
        "assessment_history",
        sa.Column("customer_id", sa.Text, nullable=False),
        *_assessment_columns(),
        sa.Column("message", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
        postgresql_partition_by="RANGE (assessed_at)",
    )
    op.create_index(
        "ix_assessment_history_customer",
        "assessment_history",
        ["customer_id", "assessed_at"],
        schema=SCHEMA,
    )
    op.execute(
        f"CREATE TABLE {SCHEMA}.assessment_history_rest "
        f"PARTITION OF {SCHEMA}.assessment_history DEFAULT"
    )
    op.create_table(
        "model",
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("feature_set", sa.SmallInteger, nullable=False),
        sa.Column("horizon_days", sa.Integer, nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        sa.Column("promoted_at", TZ),
        sa.Column("report", sa.Text, nullable=False),
        schema=SCHEMA,
    )
