"""Adds what operators do with dead letters, and what is observed of the sources' clocks."""

import sqlalchemy as sa
from alembic import op

revision = "ingest_0006"
down_revision = "ingest_0005"
branch_labels = None
depends_on = None

SCHEMA = "ingest"
TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Give dead letters a state; create the table of the sources' clocks."""
    op.alter_column("dead_letter", "replayed_at", new_column_name="settled_at", schema=SCHEMA)
    for column in (
        sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
        sa.Column("settled_by", sa.Text),
        sa.Column("settled_why", sa.Text),
        sa.Column("producer", sa.Text),
        sa.Column("arrived_ms", sa.BigInteger),
        sa.Column("replay_of", sa.BigInteger),
        sa.Column("dropped_at", TZ),
    ):
        op.add_column("dead_letter", column, schema=SCHEMA)
    op.execute("UPDATE ingest.dead_letter SET state = 'replayed' WHERE settled_at IS NOT NULL")
    op.drop_index("ix_dead_letter_waiting", "dead_letter", schema=SCHEMA)
    _index("ix_dead_letter_waiting", "id", "state = 'waiting'")
    _index("ix_dead_letter_settled", "settled_at", "settled_at IS NOT NULL AND dropped_at IS NULL")
    _index("ix_dead_letter_replay_of", "replay_of", "replay_of IS NOT NULL")
    op.create_table(
        "source_clock",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("future", sa.BigInteger, nullable=False),
        sa.Column("newest_at", TZ),
        sa.Column("median_s", sa.Double),
        sa.Column("spread_s", sa.Double),
        sa.Column("updated_at", TZ, nullable=False),
        schema=SCHEMA,
    )


def _index(name: str, column: str, where: str) -> None:
    op.create_index(name, "dead_letter", [column], schema=SCHEMA, postgresql_where=sa.text(where))
