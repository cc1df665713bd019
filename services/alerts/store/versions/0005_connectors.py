"""What CRM connectors keep: owners, access tokens, how far changes have been read."""

import sqlalchemy as sa
from alembic import op

revision = "alerts_0005"
down_revision = "alerts_0004"
branch_labels = None
depends_on = None

SCHEMA = "alerts"
TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "endpoint_owner",
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Text, primary_key=True),
        sa.Column("remote_id", sa.Text, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "access_token",
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger),
        sa.Column("key_id", sa.Text),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("obtained_at", TZ),
        sa.Column("expires_at", TZ),
        sa.Column("turn_until", TZ),
        sa.Column("asked_at", sa.ARRAY(TZ), nullable=False, server_default=sa.text("'{}'")),
        schema=SCHEMA,
    )
    op.create_table(
        "look",
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("since", TZ, nullable=False),
        sa.Column("next_at", TZ, nullable=False),
        sa.Column("watched_until", TZ),
        schema=SCHEMA,
    )
