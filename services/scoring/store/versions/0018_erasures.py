"""Erasures of customers: what was done, and a mark that remains."""

from shared.postgres import erasures

revision = "scoring_0018"
down_revision = "scoring_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two small tables."""
    erasures.upgrade("scoring")
