"""A customer's purchases are found by the key: an index less for each purchase to be put into."""

from alembic import op

revision = "alerts_0008"
down_revision = "alerts_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A process of the version before goes on: it names no index."""
    op.drop_index("ix_purchase_customer_at", "purchase", schema="alerts")
