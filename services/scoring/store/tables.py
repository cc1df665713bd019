"""Scoring's tables. All customer data is keyed by `customer_id`, so that it can be distributed."""

import sqlalchemy as sa

from shared.http.access import token_table
from shared.postgres.audit import audit_table
from shared.postgres.erasures import erasure_tables
from shared.postgres.ledger import partition_table
from shared.postgres.outbox import outbox_table
from shared.postgres.suspects import item_tables
from shared.postgres.unfinished import unfinished_table

SCHEMA = "scoring"
TZ = sa.DateTime(timezone=True)

metadata = sa.MetaData(schema=SCHEMA)
partition = partition_table(metadata)
unfinished = unfinished_table(metadata)
items_begun, suspect = item_tables(metadata)
outbox = outbox_table(metadata)
api_token = token_table(metadata)
erasure, erasure_key = erasure_tables(metadata)
audit = audit_table(metadata)

event_key = sa.Table(
    "event_key",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("content_hash", sa.LargeBinary, nullable=False),
    sa.Column("recorded_on", sa.Date, nullable=False),
    # Of a customer with several ids: the one that the event came with, where it is another.
    sa.Column("came_with", sa.Text),
    postgresql_partition_by="HASH (customer_id)",
)
"""Keys of events that have had their effect: they make processing exactly-once."""

event = sa.Table(
    "event",
    metadata,
    sa.Column("recorded_at", TZ, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("original_customer_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("time", TZ, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    postgresql_partition_by="RANGE (recorded_at)",
)
"""Event history: the canonical event as folded.

Partitioned by recording time: by event time, a duplicate with another time would fall into another
partition."""

customer_state = sa.Table(
    "customer_state",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("feature_set", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    # The current assessment; NULL before the first.
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
    # Last published to the risk topic; NULL before the first publication.
    sa.Column("published_at", TZ),
    sa.Column("published_probability", sa.Float),
    sa.Column("published_band", sa.SmallInteger),
    sa.Column("published_signs", sa.SmallInteger),
    sa.Column("published_value_at_risk", sa.Float),
    # Whether other ids are part of this customer (`identity_tables.member`).
    sa.Column("grouped", sa.Boolean, nullable=False, server_default=sa.false()),
    # Only columns that a publication changes are indexed: other assessments stay HOT updates.
    sa.Index(
        "ix_customer_state_at_risk", "published_band", "published_value_at_risk", "customer_id"
    ),
    # Overwritten by every batch that touches the customer: leave room for HOT updates.
    postgresql_with={"fillfactor": 60},
)
"""Customer state and current assessment, in one row because every batch writes both.

The features of the assessment follow from the state. `horizons`: `core.risk.horizons.pack`."""

timer = sa.Table(
    "timer",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("due_at", TZ, nullable=False),
    sa.Index("ix_timer_due", "partition", "due_at"),
)
"""Times at which the silence sweep must assess customers again.

A narrow table of its own: an indexed due time in the state row would prevent its HOT updates."""


assessment_history = sa.Table(
    "assessment_history",
    metadata,
    sa.Column("recorded_at", TZ, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("assessed_at", TZ, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("band", sa.SmallInteger, nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("feature_set", sa.SmallInteger, nullable=False),
    sa.Column("horizon_days", sa.SmallInteger, nullable=False),
    sa.Column("features", sa.LargeBinary, nullable=False),
    sa.Column("horizons", sa.LargeBinary),
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Index("ix_assessment_history_customer", "customer_id", "revision"),
    postgresql_partition_by="RANGE (recorded_at)",
)
"""Published assessments, with their features (little-endian float64) and the message as sent.

Partitioned by recording time, so that a replay of last year is kept for as long as the rest."""

profile = sa.Table(
    "profile",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("changed_at", TZ, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("profile", sa.LargeBinary, nullable=False),
    sa.Column("owner_id", sa.Text),
    sa.Index("ix_profile_owner", "owner_id", "customer_id"),
)
"""Newest profile of each customer: last writer by (changed_at, event_id)."""

profiling = sa.Table(
    "profiling",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("refused_at", TZ),
    sa.Column("allowed_at", TZ),
    sa.Column("stated_by", sa.Text, nullable=False),
)
"""The newest refusal to be assessed, and the newest permission, by the id that they came with.

The view `scoring.not_profiled` lists all ids of the customers who refuse."""

model = sa.Table(
    "model",
    metadata,
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False, server_default="model"),
    sa.Column("feature_set", sa.SmallInteger, nullable=False),
    sa.Column("horizon_days", sa.Integer, nullable=False),
    sa.Column("created_at", TZ, nullable=False),
    sa.Column("data_fingerprint", sa.Text, nullable=False, server_default=""),
    sa.Column("passed", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("gate", sa.Text, nullable=False, server_default="{}"),
    sa.Column("report", sa.Text, nullable=False),
    sa.Column("reference_digest", sa.Text),
    sa.Column("shadow_since", TZ),
    sa.Column("trained_at", TZ),
)
"""Registry of models: description, decision of the promotion gate, whether it is the challenger.

The model store contains the artefact and a sample of the rows that the model learned from."""

model_promotion = sa.Table(
    "model_promotion",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", TZ, nullable=False),
    sa.Column("version", sa.Text),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("before_id", sa.BigInteger),
)
"""Log of promotions: the last row names the model that serves (NULL: the rule).

`before_id` is the row that a rollback returns to, so that several rollbacks walk back one by
one."""

shadow_score = sa.Table(
    "shadow_score",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("assessed_on", sa.Date, primary_key=True),
    sa.Column("assessed_at", TZ, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("champion", sa.Text, nullable=False),
    sa.Column("champion_probability", sa.Float, nullable=False),
)
"""Probabilities by challenger and champion: the first of each customer and day."""

treatment = sa.Table(
    "treatment",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("at", TZ, primary_key=True),
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("cause", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("policy", sa.Text),
    sa.Column("playbook", sa.Text),
    sa.Column("revision", sa.BigInteger),
    sa.Column("probability", sa.Float),
    sa.Column("until", TZ),
    sa.Column("leaving_cause", sa.Text),
)
"""Treatments of customers by alerts: tasks, holdout, verdicts.

The fields are those of `shared.contracts.treatment.TreatmentRecorded`; `task_id` is empty where
there is none."""

roll_call = sa.Table(
    "roll_call",
    metadata,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("called_on", sa.Date, primary_key=True),
    sa.Column("called_at", TZ, nullable=False),
    sa.Column("horizon_days", sa.Integer, nullable=False),
    sa.Column("champion", sa.Text, nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("challenger", sa.Text),
    sa.Column("challenger_probability", sa.Float),
    sa.Column("rule_probability", sa.Float, nullable=False),
    sa.Column("purchase_days", sa.Float, nullable=False),
    sa.Column("recency_days", sa.Float, nullable=False),
    sa.Column("tenure_days", sa.Float, nullable=False),
    sa.Column("bought_that_day", sa.Boolean, nullable=False),
    sa.Column("silent", sa.Boolean),
    sa.Index("ix_roll_call_called_on", "called_on"),
)
"""Weekly sample with the scores of champion, challenger and rule; later outcomes (NULL before)."""

realised = sa.Table(
    "realised",
    metadata,
    sa.Column("called_on", sa.Date, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("segment", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("observed", sa.Float, nullable=False),
    sa.Column("expected", sa.Float, nullable=False),
    sa.Column("roc_auc", sa.Float, nullable=False),
    sa.Column("log_loss", sa.Float, nullable=False),
    sa.Column("calibration_error", sa.Float, nullable=False),
    sa.Column("lift_at_10", sa.Float, nullable=False),
)
"""Measures of a roll call's scores against outcomes, stored once its horizon is over."""

drift = sa.Table(
    "drift",
    metadata,
    sa.Column("called_on", sa.Date, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("feature", sa.Text, primary_key=True),
    sa.Column("psi", sa.Float, nullable=False),
    sa.Column("ks", sa.Float, nullable=False),
    sa.Column("p_value", sa.Float, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("drifted", sa.Boolean, nullable=False),
)
"""Drift of each feature and of the score: a roll call against the model's training rows."""
