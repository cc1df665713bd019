"""Creates ingest's first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ingest_0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "ingest"
TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    _create_shared()
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("origin_topic", sa.Text, nullable=False),
        sa.Column("origin_partition", sa.Integer, nullable=False),
        sa.Column("origin_offset", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("header_names", postgresql.ARRAY(sa.LargeBinary), nullable=False),
        sa.Column("header_values", postgresql.ARRAY(sa.LargeBinary), nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("recorded_at", TZ, nullable=False),
        sa.Column("replayed_at", TZ),
        sa.UniqueConstraint(
            "origin_topic", "origin_partition", "origin_offset", name="uq_dead_letter_origin"
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_dead_letter_waiting",
        "dead_letter",
        ["id"],
        schema=SCHEMA,
        postgresql_where=sa.text("replayed_at IS NULL"),
    )
    op.create_table(
        "intake_stop",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("stopped_at", TZ, nullable=False),
        sa.Column("resumed_at", TZ),
        schema=SCHEMA,
    )


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
        "api_token",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        sa.Column("revoked_at", TZ),
        schema=SCHEMA,
    )
