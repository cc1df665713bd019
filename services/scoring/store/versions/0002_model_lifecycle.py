"""The life of a model: gate, promotions with a way back, a challenger."""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0002"
down_revision = "scoring_0001"
branch_labels = None
depends_on = None

SCHEMA = "scoring"
TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Extend the registry; what served goes on serving."""
    for column in (
        sa.Column("method", sa.Text, nullable=False, server_default="model"),
        sa.Column("data_fingerprint", sa.Text, nullable=False, server_default=""),
        sa.Column("passed", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("gate", sa.Text, nullable=False, server_default="{}"),
        sa.Column("reference_digest", sa.Text),
        sa.Column("shadow_since", TZ),
    ):
        op.add_column("model", column, schema=SCHEMA)
    op.create_table(
        "model_promotion",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("at", TZ, nullable=False),
        sa.Column("version", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("before_id", sa.BigInteger),
        schema=SCHEMA,
    )
    op.execute(
        "INSERT INTO scoring.model_promotion (at, version, action, reason) "
        "SELECT promoted_at, version, 'promote', 'promoted by an earlier release' "
        "FROM scoring.model WHERE promoted_at IS NOT NULL ORDER BY promoted_at"
    )
    op.execute(
        "UPDATE scoring.model_promotion p SET before_id = "
        "(SELECT max(id) FROM scoring.model_promotion b WHERE b.id < p.id)"
    )
    op.drop_column("model", "promoted_at", schema=SCHEMA)
    op.create_table(
        "shadow_score",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("assessed_on", sa.Date, primary_key=True),
        sa.Column("assessed_at", TZ, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("champion", sa.Text, nullable=False),
        sa.Column("champion_probability", sa.Float, nullable=False),
        schema=SCHEMA,
    )
