"""What lists and replays of assessments need, history by recording time, partitions that wait.

History moves from business time to recording time: a replay of old data writes history of last
year today, and both the partition it belongs to and the day it is dropped are a matter of today.
"""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0003"
down_revision = "scoring_0002"
branch_labels = None
depends_on = None

SCHEMA = "scoring"
TZ = sa.DateTime(timezone=True)

HORIZON_DAYS_BEFORE = "28"
"""Of assessments made before it was kept: the default of the setting, and of every training."""

HOT = {
    "customer_state": 0.02,
    "assessment": 0.02,
    "timer": 0.05,
    "outbox": 0.05,
    "partition": 0.0,
}
"""Autovacuum's scale factor by table: its default of a fifth lets a table that every batch
overwrites grow by a fifth, and its index scans with it, before the first clean-up."""


def upgrade() -> None:
    """Columns, indexes, the history anew, and how eagerly to vacuum."""
    op.add_column("partition", sa.Column("drain_to", sa.BigInteger), schema=SCHEMA)
    waits = sa.Column("waits", sa.Boolean, nullable=False, server_default="false")
    op.add_column("partition", waits, schema=SCHEMA)
    _add_owner()
    _add_to_assessment()
    _renew_history()
    for table, scale in HOT.items():
        op.execute(
            f"ALTER TABLE {SCHEMA}.{table} SET (autovacuum_vacuum_scale_factor = {scale}, "
            "autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05)"
        )


def _add_owner() -> None:
    op.add_column("profile", sa.Column("owner_id", sa.Text), schema=SCHEMA)
    op.execute(
        f"UPDATE {SCHEMA}.profile "  # noqa: S608
        "SET owner_id = convert_from(profile, 'UTF8')::jsonb -> 'owner' ->> 'id'"
    )
    op.create_index("ix_profile_owner", "profile", ["owner_id", "customer_id"], schema=SCHEMA)


def _horizon() -> "sa.Column[int]":
    return sa.Column(
        "horizon_days", sa.SmallInteger, nullable=False, server_default=HORIZON_DAYS_BEFORE
    )


def _add_to_assessment() -> None:
    op.add_column("assessment", _horizon(), schema=SCHEMA)
    op.add_column("assessment", sa.Column("published_value_at_risk", sa.Float), schema=SCHEMA)
    op.execute(
        f"UPDATE {SCHEMA}.assessment a SET published_value_at_risk = ("  # noqa: S608
        "SELECT coalesce((convert_from(h.message, 'UTF8')::jsonb ->> 'value_at_risk')::float8, 0) "
        f"FROM {SCHEMA}.assessment_history h WHERE h.customer_id = a.customer_id "
        "ORDER BY h.revision DESC LIMIT 1) WHERE a.published_at IS NOT NULL"
    )
    op.create_index(
        "ix_assessment_at_risk",
        "assessment",
        ["published_band", "published_value_at_risk", "customer_id"],
        schema=SCHEMA,
    )


def _renew_history() -> None:
    op.execute(f"ALTER TABLE {SCHEMA}.assessment_history RENAME TO assessment_history_old")
    op.execute(
        f"ALTER INDEX {SCHEMA}.ix_assessment_history_customer "
        "RENAME TO ix_assessment_history_old_customer"
    )
    op.execute(
        f"ALTER TABLE {SCHEMA}.assessment_history_rest RENAME TO assessment_history_old_rest"
    )
    op.create_table(
        "assessment_history",
        sa.Column("recorded_at", TZ, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("assessed_at", TZ, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("band", sa.SmallInteger, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("feature_set", sa.SmallInteger, nullable=False),
        _horizon(),
        sa.Column("features", sa.LargeBinary, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
        schema=SCHEMA,
        postgresql_partition_by="RANGE (recorded_at)",
    )
    op.create_index(
        "ix_assessment_history_customer",
        "assessment_history",
        ["customer_id", "revision"],
        schema=SCHEMA,
    )
    op.execute(
        f"CREATE TABLE {SCHEMA}.assessment_history_rest "
        f"PARTITION OF {SCHEMA}.assessment_history DEFAULT"
    )
    columns = (
        "customer_id, revision, assessed_at, probability, band, method, model_version, "
        "feature_set, features, message"
    )
    op.execute(
        f"INSERT INTO {SCHEMA}.assessment_history (recorded_at, {columns}) "  # noqa: S608
        f"SELECT now(), {columns} FROM {SCHEMA}.assessment_history_old"
    )
    op.execute(f"DROP TABLE {SCHEMA}.assessment_history_old")
