"""Tables of what is sent: endpoints, deliveries and the log of attempts."""

import sqlalchemy as sa

from services.alerts.store.tables.base import TZ, metadata

PENDING = sa.text("status = 'pending'")

delivery = sa.Table(
    "delivery",
    metadata,
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
    sa.Index("ix_delivery_due", "endpoint_id", "next_at", "seq", postgresql_where=PENDING),
    sa.Index(
        "ix_delivery_turn",
        "endpoint_id",
        "customer_id",
        "seq",
        postgresql_where=PENDING,
    ),
    sa.Index("ix_delivery_oldest", "created_at", postgresql_where=PENDING),
    sa.Index("ix_delivery_id", "id"),
    sa.Index("ix_delivery_seq", "seq"),
    sa.Index("ix_delivery_task", "task_id"),
    postgresql_with={"fillfactor": 80},
)
"""One message to one endpoint; also the queue of what is to be sent."""

attempt = sa.Table(
    "attempt",
    metadata,
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
    sa.Index("ix_attempt_delivery", "customer_id", "delivery_id", "started_at"),
)
"""The log of what was sent; a row is never changed."""

endpoint = sa.Table(
    "endpoint",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("disabled_at", TZ),
    sa.Column("disabled_reason", sa.Text),
)
"""Which endpoints are switched off. Their URLs and secrets are in the settings only."""
