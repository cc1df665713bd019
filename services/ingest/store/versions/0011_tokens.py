"""Tokens may be limited to owners, expire, and show their last use."""

from shared.http import access

revision = "ingest_0011"
down_revision = "ingest_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three columns."""
    access.upgrade("ingest")
