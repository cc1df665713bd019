"""Adds waiting partitions: added ones wait until the old ones are read to a recorded end."""

import sqlalchemy as sa
from alembic import op

revision = "ingest_0002"
down_revision = "ingest_0001"
branch_labels = None
depends_on = None

SCHEMA = "ingest"


def upgrade() -> None:
    """Add two columns to the ledger."""
    op.add_column("partition", sa.Column("drain_to", sa.BigInteger), schema=SCHEMA)
    waits = sa.Column("waits", sa.Boolean, nullable=False, server_default="false")
    op.add_column("partition", waits, schema=SCHEMA)
