"""Alerts' tables as they began."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "alerts_0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "alerts"
TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    _create_shared()
    _create_customer()
    _create_task()
    _create_delivery()
    _create_attempt()


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


def _create_customer() -> None:
    op.create_table(
        "customer",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="-1"),
        sa.Column("band", sa.Text),
        sa.Column("armed", sa.Boolean, nullable=False, server_default="true"),
        sa.Column("ramp_until", TZ),
        sa.Column("raised_at", TZ),
        sa.Column("episode", sa.Integer, nullable=False, server_default="0"),
        sa.Column("purchased_at", TZ),
        sa.Column("profile", postgresql.JSONB),
        sa.Column("profile_at", TZ),
        sa.Column("profile_event_id", sa.Text),
        schema=SCHEMA,
        postgresql_with={"fillfactor": 70},
    )


def _create_task() -> None:
    op.create_table(
        "task",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("episode", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("customer_name", sa.Text),
        sa.Column("owner_id", sa.Text),
        sa.Column("owner_name", sa.Text),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text),
        sa.Column("band", sa.Text, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("horizon_days", sa.Integer, nullable=False),
        sa.Column("reasons", postgresql.JSONB, nullable=False),
        sa.Column("days_silent", sa.Float),
        sa.Column("last_purchase_at", TZ),
        sa.Column("expected_value", sa.Float, nullable=False),
        sa.Column("value_at_risk", sa.Float, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("opened_at", TZ, nullable=False),
        sa.Column("due_at", TZ, nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        sa.Column("received_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_at", TZ),
        sa.Column("close_reason", sa.Text),
        sa.Column("verdict", sa.Text),
        sa.Column("note", sa.Text),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_task_open",
        "task",
        ["customer_id", "cause"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index("ix_task_id", "task", ["id"], schema=SCHEMA)
    op.create_index("ix_task_newest", "task", ["opened_at", "id"], schema=SCHEMA)
    op.create_index("ix_task_owner", "task", ["owner_id", "opened_at", "id"], schema=SCHEMA)


def _create_delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("endpoint_id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Text, nullable=False, server_default="pending"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at", TZ, nullable=False),
        sa.Column("token", sa.Uuid),
        sa.Column("created_at", TZ, nullable=False),
        sa.Column("received_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_at", TZ),
        schema=SCHEMA,
        postgresql_with={"fillfactor": 80},
    )
    pending = sa.text("status = 'pending'")
    for name, columns in (
        ("ix_delivery_due", ["endpoint_id", "next_at", "seq"]),
        ("ix_delivery_turn", ["endpoint_id", "customer_id", "seq"]),
        ("ix_delivery_oldest", ["created_at"]),
    ):
        op.create_index(name, "delivery", columns, schema=SCHEMA, postgresql_where=pending)
    for column in ("id", "seq"):
        op.create_index(f"ix_delivery_{column}", "delivery", [column], schema=SCHEMA)
    op.create_index("ix_delivery_task", "delivery", ["task_id"], schema=SCHEMA)


def _create_attempt() -> None:
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
    )
    op.create_index(
        "ix_attempt_delivery",
        "attempt",
        ["customer_id", "delivery_id", "started_at"],
        schema=SCHEMA,
    )
    op.create_table(
        "endpoint",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("disabled_at", TZ),
        sa.Column("disabled_reason", sa.Text),
        schema=SCHEMA,
    )
