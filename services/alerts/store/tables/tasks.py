"""Tables of what is decided: customers and their retention tasks."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.alerts.store.tables.base import TZ, metadata

customer = sa.Table(
    "customer",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="-1"),
    sa.Column("band", sa.Text),
    sa.Column("armed", sa.Boolean, nullable=False, server_default="true"),
    sa.Column("ramp_until", TZ),
    sa.Column("raised_at", TZ),
    sa.Column("episode", sa.Integer, nullable=False, server_default="0"),
    sa.Column("purchased_at", TZ),
    sa.Column("profile", JSONB),
    sa.Column("profile_at", TZ),
    sa.Column("profile_event_id", sa.Text),
    # Updated by every purchase and assessment: room for HOT updates on the page.
    postgresql_with={"fillfactor": 70},
)
"""What is remembered of a customer; its row is the lock that orders all work on the customer."""

task = sa.Table(
    "task",
    metadata,
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
    sa.Column("reasons", JSONB, nullable=False),
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
    sa.Index(
        "uq_task_open",
        "customer_id",
        "cause",
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    ),
    sa.Index("ix_task_id", "id"),
    sa.Index("ix_task_newest", "opened_at", "id"),
    sa.Index("ix_task_owner", "owner_id", "opened_at", "id"),
)
