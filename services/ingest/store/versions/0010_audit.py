"""Who changed what, when and from where: an append-only table."""

from shared.postgres import audit

revision = "ingest_0010"
down_revision = "ingest_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table and the trigger that guards it."""
    audit.upgrade("ingest")
