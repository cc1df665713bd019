"""The outbox keeps a parcel of messages in each row."""

from shared.postgres import outbox_batching

revision = "alerts_0007"
down_revision = "alerts_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """In place; what waits is kept."""
    outbox_batching.upgrade("alerts")
