"""Several ids of one customer: what came with an id that is part of another customer."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0023"
down_revision = "alerts_0022"
branch_labels = None
depends_on = None

SCHEMA = "alerts"


def upgrade() -> None:
    """Three columns; no existing row is written."""
    op.add_column("customer", sa.Column("part_of", sa.Text), schema=SCHEMA)
    op.add_column("task", sa.Column("came_with", sa.Text), schema=SCHEMA)
    op.add_column("trial", sa.Column("came_with", sa.Text), schema=SCHEMA)
