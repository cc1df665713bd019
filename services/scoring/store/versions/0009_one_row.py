"""A customer's state and current assessment in one row, which every batch then writes once.

The features of the current assessment are not kept: they follow from the state beside it.
"""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0009"
down_revision = "scoring_0008"
branch_labels = None
depends_on = None

SCHEMA = "scoring"
TZ = sa.DateTime(timezone=True)

KEPT = (
    "revision", "assessed_at", "probability", "band", "method", "model_version", "horizon_days",
    "horizons", "look_at", "published_at", "published_probability", "published_band",
    "published_reason", "published_value_at_risk",
)  # fmt: skip
"""Columns that have the same name in both tables."""


def upgrade() -> None:
    """The columns, what was in the other table, and its index."""
    for column in _columns():
        op.add_column("customer_state", column, schema=SCHEMA)
    values = ", ".join(f"{name} = a.{name}" for name in KEPT)
    op.execute(
        f"UPDATE {SCHEMA}.customer_state s "  # noqa: S608 (names from above)
        f"SET {values}, assessed_feature_set = a.feature_set "
        f"FROM {SCHEMA}.assessment a WHERE a.customer_id = s.customer_id"
    )
    op.drop_table("assessment", schema=SCHEMA)
    op.create_index(
        "ix_customer_state_at_risk",
        "customer_state",
        ["published_band", "published_value_at_risk", "customer_id"],
        schema=SCHEMA,
    )


def _columns() -> list["sa.Column[object]"]:
    return [
        sa.Column("revision", sa.BigInteger),
        sa.Column("assessed_at", TZ),
        sa.Column("probability", sa.Float),
        sa.Column("band", sa.SmallInteger),
        sa.Column("method", sa.Text),
        sa.Column("model_version", sa.Text),
        sa.Column("assessed_feature_set", sa.SmallInteger),
        sa.Column("horizon_days", sa.SmallInteger),
        sa.Column("horizons", sa.LargeBinary),
        sa.Column("look_at", TZ),
        sa.Column("published_at", TZ),
        sa.Column("published_probability", sa.Float),
        sa.Column("published_band", sa.SmallInteger),
        sa.Column("published_reason", sa.Text),
        sa.Column("published_value_at_risk", sa.Float),
    ]
