"""Value, grades and segments: what people decide, what is measured, who stands where."""

import sqlalchemy as sa
from alembic import op

revision = "scoring_0006"
down_revision = "scoring_0005"
branch_labels = None
depends_on = None

SCHEMA = "scoring"
TZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create everything."""
    _create_decisions()
    _create_segments()
    _create_standings()
    _create_changes()


def _create_decisions() -> None:
    op.create_table(
        "value_policy",
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "value_base",
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("base", sa.Text, nullable=False),
        sa.Column("measured_at", TZ, nullable=False),
        schema=SCHEMA,
    )
    op.create_table(
        "value_job",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("requested", sa.BigInteger, nullable=False),
        sa.Column("requested_at", TZ),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("cursor", sa.Text, nullable=False),
        sa.Column("leased_until", TZ),
        schema=SCHEMA,
    )
    for job in ("relook", "measure"):
        op.execute(f"INSERT INTO {SCHEMA}.value_job VALUES ('{job}', 0, NULL, 0, '', NULL)")  # noqa: S608


def _create_segments() -> None:
    op.create_table(
        "segment_definition",
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("action", sa.Text),
        sa.Column("act_on_existing", sa.Boolean, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.Column("created_at", TZ, nullable=False),
        sa.UniqueConstraint("id", "version"),
        schema=SCHEMA,
    )
    op.create_table(
        "grade_override",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("set_at", TZ, nullable=False),
        sa.Column("expires_at", TZ, nullable=False),
        sa.Column("ended_at", TZ),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_grade_override_open",
        "grade_override",
        ["customer_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
        schema=SCHEMA,
    )


def _create_standings() -> None:
    op.create_table(
        "standing",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("at", TZ, nullable=False),
        sa.Column("grade", sa.Text),
        sa.Column("tier", sa.Text),
        sa.Column("behaviour", sa.Text),
        sa.Column("lifecycle", sa.Text),
        sa.Column("lifecycle_since", TZ, nullable=False),
        sa.Column("segments", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("rules_revision", sa.BigInteger, nullable=False),
        sa.Column("policy_version", sa.BigInteger, nullable=False),
        sa.Column("needs", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("quality", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("rfm", sa.Text),
        sa.Column("rfm_cell", sa.Text),
        sa.Column("score", sa.Float),
        sa.Column("worth", sa.Float),
        sa.Column("lifetime_value", sa.Float),
        sa.Column("lifetime_value_days", sa.Integer),
        sa.Column("expected_purchases", sa.Float),
        sa.Column("alive_probability", sa.Float),
        sa.Column("value_at_risk", sa.Float),
        sa.Column("net_spent", sa.Float),
        sa.Column("profit", sa.Float),
        sa.Column("overridden", sa.Boolean, nullable=False),
        schema=SCHEMA,
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_standing_grade", "standing", ["grade", "worth"], schema=SCHEMA)
    op.create_index("ix_standing_lifecycle", "standing", ["lifecycle", "net_spent"], schema=SCHEMA)


def _create_changes() -> None:
    op.create_table(
        "standing_change",
        sa.Column("recorded_at", TZ, nullable=False, server_default=sa.func.now()),
        sa.Column("at", TZ, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("segment", sa.Text),
        sa.Column("segment_version", sa.Integer),
        sa.Column("silent", sa.Boolean, nullable=False),
        schema=SCHEMA,
        postgresql_partition_by="RANGE (recorded_at)",
    )
    op.create_index(
        "ix_standing_change_customer",
        "standing_change",
        ["customer_id", "sequence"],
        schema=SCHEMA,
    )
    op.execute(
        f"CREATE TABLE {SCHEMA}.standing_change_rest PARTITION OF {SCHEMA}.standing_change DEFAULT"
    )
    op.create_table(
        "segment_member",
        sa.Column("segment_id", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("entered_at", TZ, nullable=False),
        schema=SCHEMA,
    )
