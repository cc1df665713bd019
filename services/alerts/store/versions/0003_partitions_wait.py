"""Partitions that were added to a topic wait until the old ones are read to a recorded end."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0003"
down_revision = "alerts_0002"
branch_labels = None
depends_on = None

SCHEMA = "alerts"


def upgrade() -> None:
    """Two columns of the ledger."""
    op.add_column("partition", sa.Column("drain_to", sa.BigInteger), schema=SCHEMA)
    waits = sa.Column("waits", sa.Boolean, nullable=False, server_default="false")
    op.add_column("partition", waits, schema=SCHEMA)
