"""Tables of the effect of the tasks: customers treated or held out, and what they did."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.alerts.store.tables.base import TZ, metadata

trial = sa.Table(
    "trial",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Integer, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("eligible", sa.Boolean, nullable=False),
    sa.Column("at", TZ, nullable=False),
    sa.Column("until", TZ, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("playbook", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text),
    sa.Column("grade", sa.Text),
    sa.Column("segments", JSONB, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("value_at_risk", sa.Float, nullable=False),
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
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("at", TZ, nullable=False),
    sa.Column("amount", sa.Float, nullable=False),
    sa.Column("refund", sa.Boolean, nullable=False),
    # The id that it came with, where that is part of this customer.
    sa.Column("came_with", sa.Text),
    # For deleting old rows; a customer's purchases are found by the key.
    sa.Index("ix_purchase_at", "at"),
)
"""Live purchases and refunds (amount below 0), kept for as long as outcomes need them."""

assessment = sa.Table(
    "assessment",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("assessed_at", TZ, nullable=False),
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Index("ix_assessment_at", "assessed_at"),
)
"""Assessments as received, kept so that a policy can be tried on history."""

save_rate = sa.Table(
    "save_rate",
    metadata,
    sa.Column("playbook", sa.Text, primary_key=True),
    sa.Column("rate", sa.Float, nullable=False),
    sa.Column("treated", sa.Integer, nullable=False),
    sa.Column("held_out", sa.Integer, nullable=False),
    sa.Column("measured_at", TZ, nullable=False),
)
"""The measured save rate of each playbook; without a row it is assumed."""

uplift_fit = sa.Table(
    "uplift_fit",
    metadata,
    sa.Column("version", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("fitted_at", TZ, nullable=False),
    sa.Column("recorded_at", TZ, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Index("ix_uplift_fit_policy", "policy", "version"),
)
"""What was learned from trials about the effect on single customers; the newest of a policy serves.
`note` says in a sentence what was decided and why."""

withheld_task = sa.Table(
    "withheld_task",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("cause", sa.Text, primary_key=True),
    sa.Column("playbook", sa.Text, nullable=False),
    sa.Column("effect", sa.Float, nullable=False),
    sa.Column("low", sa.Float, nullable=False),
    sa.Column("high", sa.Float, nullable=False),
    sa.Column("fit", sa.Integer, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("first_at", TZ, nullable=False),
    sa.Column("at", TZ, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Index("ix_withheld_task_at", "at"),
)
"""Tasks that were not raised because the effect on the customer is clearly not above 0: the newest
decision of each customer and cause, and how often it was made."""

segment_entry = sa.Table(
    "segment_entry",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("segment", sa.Text, primary_key=True),
    sa.Column("entry", sa.Text, primary_key=True),
    sa.Column("at", TZ, nullable=False),
    sa.Index("ix_segment_entry_at", "at"),
)
"""Segment entries that were acted on, so that each is acted on once."""
