"""Signs of leaving in place of the one leading reason that the risk topic was last sent."""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0011"
down_revision = "scoring_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The next look at a customer finds the signs; until then none is known to be published."""
    op.add_column("customer_state", sa.Column("published_signs", sa.SmallInteger), schema="scoring")
    op.drop_column("customer_state", "published_reason", schema="scoring")
