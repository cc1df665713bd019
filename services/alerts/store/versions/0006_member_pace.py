"""How much each member of a CRM may be sent."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0006"
down_revision = "alerts_0005"
branch_labels = None
depends_on = None

SCHEMA = "alerts"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "member_pace",
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("member", sa.Text, primary_key=True),
        sa.Column("tokens", sa.Float, nullable=False),
        sa.Column("tokens_at", sa.DateTime(timezone=True), nullable=False),
        schema=SCHEMA,
    )
