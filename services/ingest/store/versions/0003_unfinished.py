"""Adds notes on what was begun of a partition, so that a record that ends processes is found."""

from shared.postgres import unfinished

revision = "ingest_0003"
down_revision = "ingest_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of notes."""
    unfinished.upgrade("ingest")
