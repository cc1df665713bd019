"""Tables of value and segments. All versions of policies and segments are kept."""

import sqlalchemy as sa

from services.scoring.store.tables import TZ, metadata

value_policy = sa.Table(
    "value_policy",
    metadata,
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", TZ, nullable=False),
)
"""Cuts and weights (`core.value.policy`); the highest version is in force."""

value_base = sa.Table(
    "value_base",
    metadata,
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("base", sa.Text, nullable=False),
    sa.Column("measured_at", TZ, nullable=False),
)
"""The measured base (`core.value.base`); the highest version is in force."""

value_job = sa.Table(
    "value_job",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("requested", sa.BigInteger, nullable=False),
    sa.Column("requested_at", TZ),
    sa.Column("done", sa.BigInteger, nullable=False),
    sa.Column("cursor", sa.Text, nullable=False),
    sa.Column("leased_until", TZ),
)
"""Jobs in bounded steps, run by one replica at a time: `relook` and `measure`."""

segment_definition = sa.Table(
    "segment_definition",
    metadata,
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
)
"""Versions of all segments; the highest version of an id is in force unless retired."""

absence = sa.Table(
    "absence",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("begins_at", TZ, nullable=False),
    sa.Column("ends_at", TZ, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("announced_at", TZ, nullable=False),
)
"""Newest absence announced by a customer or an owner: its days do not count as silence."""

grade_override = sa.Table(
    "grade_override",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("grade", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("set_at", TZ, nullable=False),
    sa.Column("expires_at", TZ, nullable=False),
    sa.Column("ended_at", TZ),
    sa.Index(
        "ix_grade_override_open",
        "customer_id",
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)
"""Grades set by a person; at most one per customer is open, the others are history."""

standing = sa.Table(
    "standing",
    metadata,
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
    sa.Index("ix_standing_grade", "grade", "worth"),
    sa.Index("ix_standing_lifecycle", "lifecycle", "net_spent"),
    postgresql_with={"fillfactor": 70},
)
"""Current classification of each customer; written when something in it changes."""

standing_change = sa.Table(
    "standing_change",
    metadata,
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
    sa.Index("ix_standing_change_customer", "customer_id", "sequence"),
    postgresql_partition_by="RANGE (recorded_at)",
)
"""History of grades, tiers, lifecycle and segment memberships; `at` is business time."""

segment_member = sa.Table(
    "segment_member",
    metadata,
    sa.Column("segment_id", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("entered_at", TZ, nullable=False),
)
"""Present members of each segment."""
