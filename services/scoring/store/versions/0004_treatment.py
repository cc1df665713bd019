"""What alerts did about customers, so that training does not mistake it for their own doing."""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0004"
down_revision = "scoring_0003"
branch_labels = None
depends_on = None

TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "treatment",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("at", TZ, primary_key=True),
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("cause", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("policy", sa.Text),
        sa.Column("playbook", sa.Text),
        sa.Column("revision", sa.BigInteger),
        sa.Column("probability", sa.Float),
        sa.Column("until", TZ),
        sa.Column("leaving_cause", sa.Text),
        schema="scoring",
    )
