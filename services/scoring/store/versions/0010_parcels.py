"""The outbox keeps a parcel of messages in each row."""

from shared.postgres import outbox_batching

revision = "scoring_0010"
down_revision = "scoring_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """In place; what waits is kept."""
    outbox_batching.upgrade("scoring")
