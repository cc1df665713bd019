"""Several ids of one customer: groups of ids, their links, and statements about ids."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "scoring_0021"
down_revision = "scoring_0020"
branch_labels = None
depends_on = None

SCHEMA = "scoring"
TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Three tables and two columns; no existing row is written."""
    op.add_column(
        "customer_state",
        sa.Column("grouped", sa.Boolean, nullable=False, server_default=sa.false()),
        schema=SCHEMA,
    )
    op.add_column("event_key", sa.Column("came_with", sa.Text), schema=SCHEMA)
    op.create_table(
        "member",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("primary_id", sa.Text, nullable=False, index=True),
        sa.Column("account", sa.Text),
        sa.Column("since", TZ, nullable=False),
        sa.Column("feature_set", sa.SmallInteger, nullable=False),
        sa.Column("own_state", sa.LargeBinary, nullable=False),
        sa.Column("frozen", JSONB, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "identity_link",
        sa.Column("a", sa.Text, primary_key=True),
        sa.Column("b", sa.Text, primary_key=True),
        schema=SCHEMA,
    )
    op.create_table(
        "identity_statement",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("ids", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", TZ, nullable=False),
        sa.Column("recorded_at", TZ, nullable=False),
        sa.Column("refused", sa.Text),
        sa.Column("note", sa.Text),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_identity_statement_ids", "identity_statement", ["ids"],
        schema=SCHEMA, postgresql_using="gin",
    )  # fmt: skip
