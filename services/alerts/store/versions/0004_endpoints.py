"""Endpoints with their secrets in tables, and the log of attempts by day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "alerts_0004"
down_revision = "alerts_0003"
branch_labels = None
depends_on = None

SCHEMA = "alerts"
TZ = sa.DateTime(timezone=True)
EMPTY = sa.text("'{}'")


def upgrade() -> None:
    """Widen `endpoint` and `delivery`, add what belongs to them, cut `attempt` into days."""
    _widen_endpoint()
    _widen_delivery()
    _create_secrets()
    _create_way_back()
    _partition_attempts()


def _widen_endpoint() -> None:
    for column in (
        sa.Column("source", sa.Text, nullable=False, server_default="settings"),
        sa.Column("kind", sa.Text, nullable=False, server_default="webhook"),
        sa.Column("url", sa.Text),
        sa.Column("config", postgresql.JSONB, nullable=False, server_default=EMPTY),
        sa.Column("route", postgresql.JSONB, nullable=False, server_default=EMPTY),
        sa.Column("payload", sa.Text, nullable=False, server_default="full"),
        sa.Column("concurrency_max", sa.Integer, nullable=False, server_default="16"),
        sa.Column("rate_per_s", sa.Float),
        sa.Column("burst", sa.Integer, nullable=False, server_default="1"),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("created_at", TZ, nullable=False, server_default=sa.func.now()),
        sa.Column("paused_at", TZ),
        sa.Column("deleted_at", TZ),
        sa.Column("failing_since", TZ),
        sa.Column("tokens", sa.Float, nullable=False, server_default="0"),
        sa.Column("tokens_at", TZ),
    ):
        op.add_column("endpoint", column, schema=SCHEMA)


def _widen_delivery() -> None:
    uncertain = sa.Column("uncertain", sa.Boolean, nullable=False, server_default="false")
    op.add_column("delivery", uncertain, schema=SCHEMA)
    op.add_column("delivery", sa.Column("reason", sa.Text), schema=SCHEMA)
    op.create_index(
        "ix_delivery_finished",
        "delivery",
        ["finished_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )


def _create_secrets() -> None:
    op.create_table(
        "endpoint_secret",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("endpoint_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        sa.Column("expires_at", TZ),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_endpoint_secret", "endpoint_secret", ["endpoint_id", "name", "id"], schema=SCHEMA
    )


def _create_way_back() -> None:
    op.create_table(
        "remote_task",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("remote_id", sa.Text, nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_remote_task", "remote_task", ["endpoint_id", "remote_id"], schema=SCHEMA)
    op.create_table(
        "callback",
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("seen_at", TZ, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_callback_seen", "callback", ["seen_at"], schema=SCHEMA)


def _partition_attempts() -> None:
    """A table cannot become partitioned: make it anew and move the rows into the rest."""
    op.rename_table("attempt", "attempt_before", schema=SCHEMA)
    op.drop_index("ix_attempt_delivery", "attempt_before", schema=SCHEMA)
    op.create_table(
        "attempt",
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("delivery_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("started_at", TZ, nullable=False),
        sa.Column("duration_ms", sa.Float, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("response_status", sa.Integer),
        sa.Column("response_head", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("next_at", TZ),
        schema=SCHEMA,
        postgresql_partition_by="RANGE (started_at)",
    )
    op.execute(f"CREATE TABLE {SCHEMA}.attempt_rest PARTITION OF {SCHEMA}.attempt DEFAULT")
    op.create_index(
        "ix_attempt_delivery",
        "attempt",
        ["customer_id", "delivery_id", "started_at"],
        schema=SCHEMA,
    )
    op.execute("INSERT INTO alerts.attempt SELECT * FROM alerts.attempt_before")
    op.drop_table("attempt_before", schema=SCHEMA)
