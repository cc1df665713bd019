"""What was begun of a partition is noted, so that a record that ends processes is found."""

from shared.postgres import unfinished

revision = "scoring_0012"
down_revision = "scoring_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A small table."""
    unfinished.upgrade("scoring")
