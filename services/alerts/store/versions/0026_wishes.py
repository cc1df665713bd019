"""The history of what customers allow, and who of them does not want to be assessed."""

import sqlalchemy as sa
from alembic import op

from shared.postgres import roles

revision = "alerts_0026"
down_revision = "alerts_0025"
branch_labels = None
depends_on = None

SCHEMA = "alerts"

_REFUSED = (
    "s.channel = 'profiling' AND s.unsubscribed_at IS NOT NULL "
    "AND (s.subscribed_at IS NULL OR s.subscribed_at <= s.unsubscribed_at)"
)


def upgrade() -> None:
    """The history begins empty: earlier statements are not stored with their source."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "wish",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("about", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("recorded_at", time, nullable=False),
        schema=SCHEMA,
    )
    op.execute(
        "CREATE FUNCTION alerts.wish_is_final() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'the history of wishes is append-only'; END$$"
    )
    op.execute(
        "CREATE TRIGGER wish_is_final BEFORE UPDATE ON alerts.wish "
        "FOR EACH ROW EXECUTE FUNCTION alerts.wish_is_final()"
    )
    roles.upgrade(SCHEMA)
    op.execute(
        "CREATE INDEX ix_subscription_profiling ON alerts.subscription (customer_id) "
        "WHERE channel = 'profiling'"
    )
    op.execute(
        "CREATE VIEW alerts.not_profiled AS SELECT s.customer_id FROM alerts.subscription s "  # noqa: S608 (a constant of ours)
        f"WHERE {_REFUSED} UNION SELECT c.part_of FROM alerts.subscription s "
        f"JOIN alerts.customer c USING (customer_id) WHERE {_REFUSED} "
        "AND c.part_of IS NOT NULL AND NOT coalesce(c.contact, false)"
    )
