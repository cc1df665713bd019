"""A stored policy no longer says from when on youth alone counts as growing: nothing does."""

from alembic import op

revision = "scoring_0007"
down_revision = "scoring_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the key from every version of the policy."""
    op.execute(
        "UPDATE scoring.value_policy SET policy = (policy::jsonb - 'mature_days')::text "
        "WHERE policy::jsonb ? 'mature_days'"
    )


def downgrade() -> None:
    """Without the key, the version before has its default."""
