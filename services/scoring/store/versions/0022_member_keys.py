"""Events that two ids of a customer both sent while they were one: each counts them in its own."""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0022"
down_revision = "scoring_0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "member_key",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("recorded_on", sa.Date, nullable=False),
        schema="scoring",
    )
