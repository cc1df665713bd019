"""A delivery keeps the trace context of what caused it."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0027"
down_revision = "alerts_0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column, empty for what waits already."""
    op.add_column("delivery", sa.Column("traceparent", sa.Text), schema="alerts")
