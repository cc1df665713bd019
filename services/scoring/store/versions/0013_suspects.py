"""Items of work that are no records are noted, so that one that ends processes is found."""

from shared.postgres import suspects

revision = "scoring_0013"
down_revision = "scoring_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two small tables."""
    suspects.upgrade("scoring")
