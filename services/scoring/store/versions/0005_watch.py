"""What came of past scores, and whether customers still look like those learned from."""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0005"
down_revision = "scoring_0004"
branch_labels = None
depends_on = None

TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.add_column("model", sa.Column("trained_at", TZ), schema="scoring")
    op.execute("UPDATE scoring.model SET trained_at = created_at")
    op.create_table(
        "roll_call",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("called_on", sa.Date, primary_key=True),
        sa.Column("called_at", TZ, nullable=False),
        sa.Column("horizon_days", sa.Integer, nullable=False),
        sa.Column("champion", sa.Text, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("challenger", sa.Text),
        sa.Column("challenger_probability", sa.Float),
        sa.Column("rule_probability", sa.Float, nullable=False),
        sa.Column("purchase_days", sa.Float, nullable=False),
        sa.Column("recency_days", sa.Float, nullable=False),
        sa.Column("tenure_days", sa.Float, nullable=False),
        sa.Column("bought_that_day", sa.Boolean, nullable=False),
        sa.Column("silent", sa.Boolean),
        schema="scoring",
    )
    op.create_index("ix_roll_call_called_on", "roll_call", ["called_on"], schema="scoring")
    op.create_table(
        "realised",
        sa.Column("called_on", sa.Date, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("segment", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("observed", sa.Float, nullable=False),
        sa.Column("expected", sa.Float, nullable=False),
        sa.Column("roc_auc", sa.Float, nullable=False),
        sa.Column("log_loss", sa.Float, nullable=False),
        sa.Column("calibration_error", sa.Float, nullable=False),
        sa.Column("lift_at_10", sa.Float, nullable=False),
        schema="scoring",
    )
    op.create_table(
        "drift",
        sa.Column("called_on", sa.Date, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("feature", sa.Text, primary_key=True),
        sa.Column("psi", sa.Float, nullable=False),
        sa.Column("ks", sa.Float, nullable=False),
        sa.Column("p_value", sa.Float, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("drifted", sa.Boolean, nullable=False),
        schema="scoring",
    )
