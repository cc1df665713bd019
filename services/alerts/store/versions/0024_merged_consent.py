"""Several ids of one customer: one profile of all, each id's own kept for the undo."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "alerts_0024"
down_revision = "alerts_0023"
branch_labels = None
depends_on = None

SCHEMA = "alerts"


def upgrade() -> None:
    """Customers that were merged before keep their profile as their own; their purchases are
    marked with the id that has them too."""
    op.add_column("customer", sa.Column("contact", sa.Boolean), schema=SCHEMA)
    op.add_column("customer", sa.Column("own", JSONB), schema=SCHEMA)
    op.add_column("purchase", sa.Column("came_with", sa.Text), schema=SCHEMA)
    op.create_index(
        "ix_customer_part_of",
        "customer",
        ["part_of"],
        schema=SCHEMA,
        postgresql_where=sa.text("part_of IS NOT NULL"),
    )
    op.execute(
        "UPDATE alerts.customer w SET own = jsonb_strip_nulls(jsonb_build_object("
        "'profile', w.profile, 'at', w.profile_at, 'event_id', w.profile_event_id)) "
        "WHERE customer_id IN (SELECT part_of FROM alerts.customer WHERE part_of IS NOT NULL)"
    )
    op.execute(
        "UPDATE alerts.purchase p SET came_with = o.customer_id FROM alerts.customer o "
        "JOIN alerts.purchase q USING (customer_id) WHERE o.part_of IS NOT NULL "
        "AND p.customer_id = o.part_of AND p.source = q.source AND p.id = q.id"
    )
