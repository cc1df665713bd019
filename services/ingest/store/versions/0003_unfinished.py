"""What was begun of a partition is noted, so that a record that ends processes is found."""

from shared.postgres import unfinished

revision = "ingest_0003"
down_revision = "ingest_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A small table."""
    unfinished.upgrade("ingest")
