"""When the grade of a customer changed, so that an older assessment does not take it back."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0013"
down_revision = "alerts_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is known now counts as older than any change."""
    at = sa.Column("graded_at", sa.TIMESTAMP(timezone=True))
    op.add_column("customer", at, schema="alerts")
