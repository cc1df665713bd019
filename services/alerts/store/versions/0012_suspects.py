"""Items of work that are no records are noted, so that one that ends processes is found."""

from shared.postgres import suspects

revision = "alerts_0012"
down_revision = "alerts_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two small tables."""
    suspects.upgrade("alerts")
