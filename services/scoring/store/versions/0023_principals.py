"""Tokens may act for a person; the audit keeps for whom, and what is there before and after."""

from shared.http import access
from shared.postgres import audit

revision = "scoring_0023"
down_revision = "scoring_0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two columns of tokens, three of the audit."""
    access.upgrade_persons("scoring")
    audit.upgrade_states("scoring")
