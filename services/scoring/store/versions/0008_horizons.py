"""The probability over several horizons, beside the main one's."""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0008"
down_revision = "scoring_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Older assessments have none."""
    for table in ("assessment", "assessment_history"):
        op.add_column(table, sa.Column("horizons", sa.LargeBinary), schema="scoring")
