"""Erasures of customers: what was done, and a mark that remains."""

import sqlalchemy as sa
from alembic import op

from shared.postgres import erasures

revision = "alerts_0018"
down_revision = "alerts_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two small tables, and a column that tells a customer who came back from the former one."""
    erasures.upgrade("alerts")
    life = sa.Column("life", sa.Integer, nullable=False, server_default="0")
    op.add_column("customer", life, schema="alerts")
