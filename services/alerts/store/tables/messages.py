"""Tables of what customers say, and of the messages that providers send them."""

import sqlalchemy as sa

from services.alerts.store.tables.base import TZ, metadata

WAITING = sa.text("status = 'waiting'")
NEW = sa.text("state = 'new'")

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("at", TZ, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("text", sa.Text),
    sa.Column("channel", sa.Text),
    sa.Column("case_id", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
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
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("given_at", TZ, nullable=False),
)
"""The channels that the newest profile consents to, and since when all profiles in a row did."""

subscription = sa.Table(
    "subscription",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("unsubscribed_at", TZ),
    sa.Column("subscribed_at", TZ),
    sa.Column("reported_by", sa.Text, nullable=False),
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
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("about", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("at", TZ, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("recorded_at", TZ, nullable=False),
)
"""What the customer allowed or refused, when, and by which source: append-only, by a trigger, until
the customer is erased."""

customer_message = sa.Table(
    "customer_message",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("task_id", sa.Text, nullable=False),
    sa.Column("playbook", sa.Text, nullable=False),
    sa.Column("caused_at", TZ, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="waiting"),
    sa.Column("due_at", TZ, nullable=False),
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
