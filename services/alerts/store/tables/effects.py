"""Tables of the effect of the tasks: customers treated or held out, and what they did."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.alerts.store.tables.base import TZ, metadata
from shared.postgres.columns import key, required

trial = sa.Table(
    "trial",
    metadata,
    key("customer_id"),
    key("id"),
    required("policy"),
    required("policy_version", sa.Integer),
    required("arm"),
    required("eligible", sa.Boolean),
    required("at", TZ),
    required("until", TZ),
    required("cause"),
    required("playbook"),
    sa.Column("owner_id", sa.Text),
    sa.Column("grade", sa.Text),
    required("segments", JSONB),
    required("revision", sa.BigInteger),
    required("probability", sa.Float),
    required("value_at_risk", sa.Float),
    sa.Column("returned_at", TZ),
    sa.Column("purchases", sa.Integer),
    sa.Column("revenue", sa.Float),
    sa.Column("measured_at", TZ),
    sa.Column("came_with", sa.Text),
    sa.Column("propensity", sa.Float),
    sa.Column("feature_version", sa.SmallInteger),
    sa.Column("features", ARRAY(sa.Float)),
    sa.Index("ix_trial_unmeasured", "until", postgresql_where=sa.text("measured_at IS NULL")),
    sa.Index("ix_trial_policy", "policy", "at"),
)
"""A warned customer of either arm, and the measured outcome."""

purchase = sa.Table(
    "purchase",
    metadata,
    key("customer_id"),
    key("source"),
    key("id"),
    required("at", TZ),
    required("amount", sa.Float),
    required("refund", sa.Boolean),
    # The id that it came with, where that is part of this customer.
    sa.Column("came_with", sa.Text),
    # For deleting old rows; a customer's purchases are found by the key.
    sa.Index("ix_purchase_at", "at"),
)
"""Live purchases and refunds (amount below 0), kept for as long as outcomes need them."""

assessment = sa.Table(
    "assessment",
    metadata,
    key("customer_id"),
    key("revision", sa.BigInteger, autoincrement=False),
    required("assessed_at", TZ),
    required("message", sa.LargeBinary),
    sa.Index("ix_assessment_at", "assessed_at"),
)
"""Assessments as received, kept so that a policy can be tried on history."""

save_rate = sa.Table(
    "save_rate",
    metadata,
    key("playbook"),
    required("rate", sa.Float),
    required("treated", sa.Integer),
    required("held_out", sa.Integer),
    required("measured_at", TZ),
)
"""The measured save rate of each playbook; without a row it is assumed."""

uplift_fit = sa.Table(
    "uplift_fit",
    metadata,
    key("version", sa.Integer, sa.Identity()),
    required("policy"),
    required("fitted_at", TZ),
    required("recorded_at", TZ),
    required("note"),
    required("document", sa.LargeBinary),
    sa.Index("ix_uplift_fit_policy", "policy", "version"),
)
"""What was learned from trials about the effect on single customers; the newest of a policy serves.
`note` states in a sentence what was decided and why."""

withheld_task = sa.Table(
    "withheld_task",
    metadata,
    key("customer_id"),
    key("cause"),
    required("playbook"),
    required("effect", sa.Float),
    required("low", sa.Float),
    required("high", sa.Float),
    required("fit", sa.Integer),
    required("revision", sa.BigInteger),
    required("first_at", TZ),
    required("at", TZ),
    required("times", sa.Integer),
    sa.Index("ix_withheld_task_at", "at"),
)
"""Tasks that were not raised because the effect on the customer is clearly not above 0: the newest
decision of each customer and cause, and how often it was made."""

segment_entry = sa.Table(
    "segment_entry",
    metadata,
    key("customer_id"),
    key("segment"),
    key("entry"),
    required("at", TZ),
    sa.Index("ix_segment_entry_at", "at"),
)
"""Segment entries that were acted on, so that each is acted on once."""
