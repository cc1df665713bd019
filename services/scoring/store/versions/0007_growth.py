"""Removes `mature_days` from stored policies: youth alone no longer counts as growing."""

from alembic import op

revision = "scoring_0007"
down_revision = "scoring_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drops the key from every version of the policy."""
    op.execute(
        "UPDATE scoring.value_policy SET policy = (policy::jsonb - 'mature_days')::text "
        "WHERE policy::jsonb ? 'mature_days'"
    )


def downgrade() -> None:
    """Does nothing: without the key, the previous release uses its default."""
