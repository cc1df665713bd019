"""Adds to a task the probability that its customer's silence becomes a lapse, and when."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0011"
down_revision = "alerts_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Older tasks do not know."""
    for name in ("lapse_probability", "lapse_days"):
        op.add_column("task", sa.Column(name, sa.Float), schema="alerts")
