"""Trials keep their feature rows; learned effects, and the tasks withheld because of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "alerts_0022"
down_revision = "alerts_0021"
branch_labels = None
depends_on = None

TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Older trials have no feature row: they count for the rates, and nothing is learned."""
    for column in (
        sa.Column("propensity", sa.Float),
        sa.Column("feature_version", sa.SmallInteger),
        sa.Column("features", postgresql.ARRAY(sa.Float)),
    ):
        op.add_column("trial", column, schema="alerts")
    op.create_table(
        "uplift_fit",
        sa.Column("version", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("fitted_at", TZ, nullable=False),
        sa.Column("recorded_at", TZ, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("document", sa.LargeBinary, nullable=False),
        schema="alerts",
    )
    op.create_index("ix_uplift_fit_policy", "uplift_fit", ["policy", "version"], schema="alerts")
    op.create_table(
        "withheld_task",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("cause", sa.Text, primary_key=True),
        sa.Column("playbook", sa.Text, nullable=False),
        sa.Column("effect", sa.Float, nullable=False),
        sa.Column("low", sa.Float, nullable=False),
        sa.Column("high", sa.Float, nullable=False),
        sa.Column("fit", sa.Integer, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("first_at", TZ, nullable=False),
        sa.Column("at", TZ, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        schema="alerts",
    )
    op.create_index("ix_withheld_task_at", "withheld_task", ["at"], schema="alerts")
