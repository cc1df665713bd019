"""Tokens may act for a person; the audit keeps for whom, and what is there before and after."""

from shared.http import access
from shared.postgres import audit

revision = "ingest_0012"
down_revision = "ingest_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two columns of tokens, three of the audit."""
    access.upgrade_persons("ingest")
    audit.upgrade_states("ingest")
