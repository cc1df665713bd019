"""Tables of feedback and consent, and of the messages that providers send them."""

import sqlalchemy as sa

from services.alerts.store.tables.base import TZ, metadata
from shared.postgres.columns import key, required

WAITING = sa.text("status = 'waiting'")
NEW = sa.text("state = 'new'")

feedback = sa.Table(
    "feedback",
    metadata,
    key("customer_id"),
    key("id"),
    required("seq", sa.BigInteger, sa.Identity(always=True)),
    required("source"),
    required("event_id"),
    required("at", TZ),
    required("kind"),
    sa.Column("score", sa.Float),
    sa.Column("text", sa.Text),
    sa.Column("channel", sa.Text),
    sa.Column("case_id", sa.Text),
    required("state"),
    sa.Column("state_at", TZ),
    sa.Column("state_by", sa.Text),
    sa.Index("ix_feedback_id", "id"),
    sa.Index("ix_feedback_newest", "at", "seq"),
    sa.Index("ix_feedback_kind", "kind", "at", "seq"),
    sa.Index("ix_feedback_new", "at", "seq", postgresql_where=NEW),
)
"""Feedback of customers, one row for each event. `text` is personal data."""

consent = sa.Table(
    "consent",
    metadata,
    key("customer_id"),
    key("channel"),
    required("given_at", TZ),
)
"""The channels that the newest profile consents to, and since when all profiles in a row did."""

subscription = sa.Table(
    "subscription",
    metadata,
    key("customer_id"),
    key("channel"),
    sa.Column("unsubscribed_at", TZ),
    sa.Column("subscribed_at", TZ),
    required("reported_by"),
    sa.Index("ix_subscription_newest", "unsubscribed_at", "customer_id", "channel"),
    sa.Index(
        "ix_subscription_profiling",
        "customer_id",
        postgresql_where=sa.text("channel = 'profiling'"),
    ),
)
"""The newest unsubscription and return by channel (`*`: all; `profiling`: being assessed), kept
until the customer is erased. The view `alerts.not_profiled` lists who may not be assessed."""

wish = sa.Table(
    "wish",
    metadata,
    key("customer_id"),
    key("source"),
    key("event_id"),
    key("about"),
    required("seq", sa.BigInteger, sa.Identity(always=True)),
    required("at", TZ),
    required("said"),
    required("late", sa.Boolean),
    required("recorded_at", TZ),
)
"""What the customer allowed or refused, when, and by which source: append-only, by a trigger, until
the customer is erased."""

customer_message = sa.Table(
    "customer_message",
    metadata,
    key("customer_id"),
    key("id"),
    required("seq", sa.BigInteger, sa.Identity(always=True)),
    required("task_id"),
    required("playbook"),
    required("caused_at", TZ),
    required("status", sa.Text, server_default="waiting"),
    required("due_at", TZ),
    sa.Column("channel", sa.Text),
    sa.Column("endpoint_id", sa.Text),
    sa.Column("handed_at", TZ),
    sa.Column("reason", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("outcome_at", TZ),
    sa.Column("outcome_reason", sa.Text),
    sa.Index("ix_customer_message_id", "id"),
    sa.Index("ix_customer_message_seq", "seq"),
    sa.Index("ix_customer_message_due", "due_at", "seq", postgresql_where=WAITING),
    sa.Index("ix_customer_message_caused", "caused_at"),
)
"""The message of a self-service task: waiting, handed to delivery, or suppressed with the reason.
`handed_at` is the newest time, and is what the frequency cap counts."""
