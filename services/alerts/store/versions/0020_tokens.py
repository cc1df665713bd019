"""Tokens may be limited to owners, expire, and show their last use."""

from shared.http import access

revision = "alerts_0020"
down_revision = "alerts_0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three columns."""
    access.upgrade("alerts")
