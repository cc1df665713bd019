"""What was begun is noted, so that a record or a delivery that ends processes is found."""

import sqlalchemy as sa
from alembic import op

from shared.postgres import unfinished

revision = "alerts_0010"
down_revision = "alerts_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A small table, and a column of the queue."""
    unfinished.upgrade("alerts")
    lost = sa.Column("lost", sa.SmallInteger, nullable=False, server_default="0")
    op.add_column("delivery", lost, schema="alerts")
