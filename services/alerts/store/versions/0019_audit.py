"""Who changed what, when and from where: an append-only table."""

from shared.postgres import audit

revision = "alerts_0019"
down_revision = "alerts_0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table and the trigger that guards it."""
    audit.upgrade("alerts")
