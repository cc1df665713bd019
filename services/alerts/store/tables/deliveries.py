"""Tables of sending: endpoints, deliveries and the log of attempts."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.alerts.store.tables.base import TZ, metadata

PENDING = sa.text("status = 'pending'")
FINISHED = sa.text("finished_at IS NOT NULL")
EMPTY = sa.text("'{}'")

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
    sa.Column("uncertain", sa.Boolean, nullable=False, server_default="false"),
    sa.Column("reason", sa.Text),
    sa.Column("lost", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("traceparent", sa.Text),
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
    sa.Index("ix_delivery_finished", "finished_at", postgresql_where=FINISHED),
    postgresql_with={"fillfactor": 80},
)
"""One message to one endpoint; also the queue of pending messages."""

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
    postgresql_partition_by="RANGE (started_at)",
)
"""The log of attempts; a row is never changed, and is deleted with the partition of its day."""

endpoint = sa.Table(
    "endpoint",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("disabled_at", TZ),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("source", sa.Text, nullable=False, server_default="settings"),
    sa.Column("kind", sa.Text, nullable=False, server_default="webhook"),
    sa.Column("url", sa.Text),
    sa.Column("config", JSONB, nullable=False, server_default=EMPTY),
    sa.Column("route", JSONB, nullable=False, server_default=EMPTY),
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
)
"""The endpoints. `source`: `settings` (its secrets are only there) or `api`. `failing_since`: its
first failure after its last success. `tokens`: of the token bucket for its rate."""

endpoint_secret = sa.Table(
    "endpoint_secret",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("endpoint_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("created_at", TZ, nullable=False),
    sa.Column("expires_at", TZ),
    sa.Index("ix_endpoint_secret", "endpoint_id", "name", "id"),
)
"""Secrets, encrypted (see `delivery.store.encryption`); the newest of a name is the current one."""

remote_task = sa.Table(
    "remote_task",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("remote_id", sa.Text, nullable=False),
    sa.Column("created_at", TZ, nullable=False),
    sa.Index("ix_remote_task", "endpoint_id", "remote_id"),
)
"""The id of a task in a receiving system: to change it there, and to recognise it in callbacks."""

callback = sa.Table(
    "callback",
    metadata,
    sa.Column("endpoint_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("seen_at", TZ, nullable=False),
    sa.Index("ix_callback_seen", "seen_at"),
)
"""Callbacks from receivers that were acted on, so that a repetition is ignored."""
