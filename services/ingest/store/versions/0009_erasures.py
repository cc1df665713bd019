"""Erasures of customers: what was done, and a mark that remains."""

from shared.postgres import erasures

revision = "ingest_0009"
down_revision = "ingest_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two small tables."""
    erasures.upgrade("ingest")
