"""Feedback that people read, and messages that providers send to customers."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0021"
down_revision = "alerts_0020"
branch_labels = None
depends_on = None

TZ = sa.TIMESTAMP(timezone=True)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _serial() -> sa.Column[int]:
    return sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False)


def upgrade() -> None:
    """Consents stated by stored profiles count as given at the time of the profile."""
    _feedback()
    _messages()
    op.create_table(
        "consent",
        _key("customer_id"),
        _key("channel"),
        sa.Column("given_at", TZ, nullable=False),
        schema="alerts",
    )
    op.create_table(
        "subscription",
        _key("customer_id"),
        _key("channel"),
        sa.Column("unsubscribed_at", TZ),
        sa.Column("subscribed_at", TZ),
        sa.Column("reported_by", sa.Text, nullable=False),
        schema="alerts",
    )
    op.create_index(
        "ix_subscription_newest",
        "subscription",
        ["unsubscribed_at", "customer_id", "channel"],
        schema="alerts",
    )
    op.execute(
        "INSERT INTO alerts.consent (customer_id, channel, given_at) "
        "SELECT c.customer_id, e.key, c.profile_at FROM alerts.customer c "
        "CROSS JOIN LATERAL jsonb_each(c.profile -> 'consent') e "
        "WHERE jsonb_typeof(c.profile -> 'consent') = 'object' AND e.value = 'true' "
        "AND c.profile_at IS NOT NULL"
    )


def _feedback() -> None:
    op.create_table(
        "feedback",
        _key("customer_id"),
        _key("id"),
        _serial(),
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
        schema="alerts",
    )
    for name, columns in (
        ("ix_feedback_id", ["id"]),
        ("ix_feedback_newest", ["at", "seq"]),
        ("ix_feedback_kind", ["kind", "at", "seq"]),
    ):
        op.create_index(name, "feedback", columns, schema="alerts")
    new = sa.text("state = 'new'")
    op.create_index(
        "ix_feedback_new", "feedback", ["at", "seq"], schema="alerts", postgresql_where=new
    )


def _messages() -> None:
    op.create_table(
        "customer_message",
        _key("customer_id"),
        _key("id"),
        _serial(),
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
        schema="alerts",
    )
    for name, columns in (
        ("ix_customer_message_id", ["id"]),
        ("ix_customer_message_seq", ["seq"]),
        ("ix_customer_message_caused", ["caused_at"]),
    ):
        op.create_index(name, "customer_message", columns, schema="alerts")
    op.create_index(
        "ix_customer_message_due",
        "customer_message",
        ["due_at", "seq"],
        schema="alerts",
        postgresql_where=sa.text("status = 'waiting'"),
    )
