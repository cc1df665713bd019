"""Customers who do not want to be assessed."""

import sqlalchemy as sa
from alembic import op

from shared.postgres import roles

revision = "scoring_0024"
down_revision = "scoring_0023"
branch_labels = None
depends_on = None

SCHEMA = "scoring"

_REFUSED = "p.refused_at IS NOT NULL AND (p.allowed_at IS NULL OR p.allowed_at <= p.refused_at)"


def upgrade() -> None:
    """A table of statements by id, and a view of all ids of the customers who refuse.

    A contact of an account is a person of its own: a refusal does not count for the account.
    """
    time = sa.DateTime(timezone=True)
    op.create_table(
        "profiling",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("refused_at", time),
        sa.Column("allowed_at", time),
        sa.Column("stated_by", sa.Text, nullable=False),
        schema=SCHEMA,
    )
    roles.upgrade(SCHEMA)
    op.execute(
        "CREATE VIEW scoring.not_profiled AS "  # noqa: S608 (a constant of ours)
        "SELECT p.customer_id, p.refused_at AS since FROM scoring.profiling p "
        f"WHERE {_REFUSED} UNION "
        "SELECT o.customer_id, p.refused_at FROM scoring.profiling p "
        "JOIN scoring.member m ON m.customer_id = p.customer_id "
        "JOIN scoring.member o ON o.primary_id = m.primary_id "
        f"WHERE {_REFUSED} AND m.account IS NULL AND o.account IS NULL"
    )
