"""Tables of sending: endpoints, deliveries and the log of attempts."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from services.alerts.store.tables.base import TZ, metadata
from shared.postgres.columns import key, required

PENDING = sa.text("status = 'pending'")
FINISHED = sa.text("finished_at IS NOT NULL")
EMPTY = sa.text("'{}'")

delivery = sa.Table(
    "delivery",
    metadata,
    key("customer_id"),
    key("id"),
    required("seq", sa.BigInteger, sa.Identity(always=True)),
    required("endpoint_id"),
    required("task_id"),
    required("kind"),
    required("body", sa.LargeBinary),
    required("status", sa.Text, server_default="pending"),
    required("attempts", sa.Integer, server_default="0"),
    required("next_at", TZ),
    sa.Column("token", sa.Uuid),
    required("created_at", TZ),
    required("received_ms", sa.BigInteger),
    sa.Column("finished_at", TZ),
    required("uncertain", sa.Boolean, server_default="false"),
    sa.Column("reason", sa.Text),
    required("lost", sa.SmallInteger, server_default="0"),
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
    required("customer_id"),
    required("delivery_id"),
    required("number", sa.Integer),
    required("started_at", TZ),
    required("duration_ms", sa.Float),
    required("outcome"),
    sa.Column("response_status", sa.Integer),
    required("response_head"),
    sa.Column("error", sa.Text),
    sa.Column("next_at", TZ),
    sa.Index("ix_attempt_delivery", "customer_id", "delivery_id", "started_at"),
    postgresql_partition_by="RANGE (started_at)",
)
"""The log of attempts; a row is never changed, and is deleted with the partition of its day."""

endpoint = sa.Table(
    "endpoint",
    metadata,
    key("id"),
    sa.Column("disabled_at", TZ),
    sa.Column("disabled_reason", sa.Text),
    required("source", sa.Text, server_default="settings"),
    required("kind", sa.Text, server_default="webhook"),
    sa.Column("url", sa.Text),
    required("config", JSONB, server_default=EMPTY),
    required("route", JSONB, server_default=EMPTY),
    required("payload", sa.Text, server_default="full"),
    required("concurrency_max", sa.Integer, server_default="16"),
    sa.Column("rate_per_s", sa.Float),
    required("burst", sa.Integer, server_default="1"),
    required("version", sa.BigInteger, server_default="1"),
    required("created_at", TZ, server_default=sa.func.now()),
    sa.Column("paused_at", TZ),
    sa.Column("deleted_at", TZ),
    sa.Column("failing_since", TZ),
    required("tokens", sa.Float, server_default="0"),
    sa.Column("tokens_at", TZ),
)
"""The endpoints. `source`: `settings` (its secrets are only there) or `api`. `failing_since`: its
first failure after its last success. `tokens`: of the token bucket for its rate."""

endpoint_secret = sa.Table(
    "endpoint_secret",
    metadata,
    key("id", sa.BigInteger, sa.Identity(always=True)),
    required("endpoint_id"),
    required("name"),
    required("key_id"),
    required("sealed", sa.LargeBinary),
    required("created_at", TZ),
    sa.Column("expires_at", TZ),
    sa.Index("ix_endpoint_secret", "endpoint_id", "name", "id"),
)
"""Secrets, encrypted (see `delivery.store.encryption`); the newest of a name is the current one."""

remote_task = sa.Table(
    "remote_task",
    metadata,
    key("customer_id"),
    key("endpoint_id"),
    key("task_id"),
    required("remote_id"),
    required("created_at", TZ),
    sa.Index("ix_remote_task", "endpoint_id", "remote_id"),
)
"""The id of a task in a receiving system: to change it there, and to recognise it in callbacks."""

callback = sa.Table(
    "callback",
    metadata,
    key("endpoint_id"),
    key("key"),
    required("seen_at", TZ),
    sa.Index("ix_callback_seen", "seen_at"),
)
"""Callbacks from receivers that were acted on, so that a repetition is ignored."""
