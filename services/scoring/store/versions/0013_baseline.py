"""The tables of scoring at revision 0013, from which migrations go on.

The revisions before it were folded into this one before any release (docs/decisions/0031).
"""

from alembic import op

revision = "scoring_0013"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE scoring.partition (
    topic text, partition integer, epoch bigint NOT NULL, next_offset bigint,
    fingerprint_ms bigint, fingerprint_digest bytea, progress text NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'running', status_reason text, worker text NOT NULL,
    claimed_at timestamptz NOT NULL, moved_at timestamptz, drain_to bigint,
    waits boolean NOT NULL DEFAULT false, PRIMARY KEY (topic, partition)
) WITH (fillfactor=20);

CREATE TABLE scoring.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, cause_topic text NOT NULL,
    cause_partition integer NOT NULL, messages bytea NOT NULL
);

CREATE TABLE scoring.api_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
    digest bytea NOT NULL UNIQUE, scopes text[] NOT NULL, created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE scoring.event_key (
    customer_id text, source text, id text, content_hash bytea NOT NULL,
    recorded_on date NOT NULL, PRIMARY KEY (customer_id, source, id)
) PARTITION BY HASH (customer_id);

CREATE TABLE scoring.event (
    recorded_at timestamptz NOT NULL, customer_id text NOT NULL,
    original_customer_id text NOT NULL, type text NOT NULL, time timestamptz NOT NULL,
    payload bytea NOT NULL
) PARTITION BY RANGE (recorded_at);
CREATE TABLE scoring.event_rest PARTITION OF scoring.event DEFAULT;

CREATE TABLE scoring.customer_state (
    customer_id text PRIMARY KEY, partition integer NOT NULL, feature_set smallint NOT NULL,
    state bytea NOT NULL, revision bigint, assessed_at timestamptz, probability float8,
    band smallint, method text, model_version text, assessed_feature_set smallint,
    horizon_days smallint, horizons bytea, look_at timestamptz, published_at timestamptz,
    published_probability float8, published_band smallint, published_value_at_risk float8,
    published_signs smallint
) WITH (fillfactor=60);
CREATE INDEX ix_customer_state_at_risk
    ON scoring.customer_state (published_band, published_value_at_risk, customer_id);

CREATE TABLE scoring.timer (
    customer_id text PRIMARY KEY, partition integer NOT NULL, due_at timestamptz NOT NULL
);
CREATE INDEX ix_timer_due ON scoring.timer (partition, due_at);

CREATE TABLE scoring.profile (
    customer_id text PRIMARY KEY, changed_at timestamptz NOT NULL, event_id text NOT NULL,
    profile bytea NOT NULL, owner_id text
);
CREATE INDEX ix_profile_owner ON scoring.profile (owner_id, customer_id);

CREATE TABLE scoring.model (
    version text PRIMARY KEY, digest text NOT NULL, feature_set smallint NOT NULL,
    horizon_days integer NOT NULL, created_at timestamptz NOT NULL, report text NOT NULL,
    method text NOT NULL DEFAULT 'model', data_fingerprint text NOT NULL DEFAULT '',
    passed boolean NOT NULL DEFAULT true, gate text NOT NULL DEFAULT '{}', reference_digest text,
    shadow_since timestamptz, trained_at timestamptz
);

CREATE TABLE scoring.model_promotion (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, version text,
    action text NOT NULL, reason text NOT NULL, before_id bigint
);

CREATE TABLE scoring.shadow_score (
    customer_id text, version text, assessed_on date, assessed_at timestamptz NOT NULL,
    probability float8 NOT NULL, champion text NOT NULL, champion_probability float8 NOT NULL,
    PRIMARY KEY (customer_id, version, assessed_on)
);

CREATE TABLE scoring.assessment_history (
    recorded_at timestamptz NOT NULL, customer_id text NOT NULL, revision bigint NOT NULL,
    assessed_at timestamptz NOT NULL, probability float8 NOT NULL, band smallint NOT NULL,
    method text NOT NULL, model_version text NOT NULL, feature_set smallint NOT NULL,
    horizon_days smallint NOT NULL DEFAULT '28', features bytea NOT NULL, message bytea NOT NULL,
    horizons bytea
) PARTITION BY RANGE (recorded_at);
CREATE INDEX ix_assessment_history_customer ON scoring.assessment_history (customer_id, revision);

CREATE TABLE scoring.assessment_history_rest PARTITION OF scoring.assessment_history DEFAULT;

CREATE TABLE scoring.treatment (
    customer_id text, kind text, at timestamptz, task_id text, cause text, detail text,
    policy text, playbook text, revision bigint, probability float8, until timestamptz,
    leaving_cause text, PRIMARY KEY (customer_id, kind, at, task_id)
);

CREATE TABLE scoring.roll_call (
    customer_id text, called_on date, called_at timestamptz NOT NULL,
    horizon_days integer NOT NULL, champion text NOT NULL, probability float8 NOT NULL,
    challenger text, challenger_probability float8, rule_probability float8 NOT NULL,
    purchase_days float8 NOT NULL, recency_days float8 NOT NULL, tenure_days float8 NOT NULL,
    bought_that_day boolean NOT NULL, silent boolean, PRIMARY KEY (customer_id, called_on)
);
CREATE INDEX ix_roll_call_called_on ON scoring.roll_call (called_on);

CREATE TABLE scoring.realised (
    called_on date, version text, segment text, role text, rows integer NOT NULL,
    observed float8 NOT NULL, expected float8 NOT NULL, roc_auc float8 NOT NULL,
    log_loss float8 NOT NULL, calibration_error float8 NOT NULL, lift_at_10 float8 NOT NULL,
    PRIMARY KEY (called_on, version, segment, role)
);

CREATE TABLE scoring.drift (
    called_on date, version text, feature text, psi float8 NOT NULL, ks float8 NOT NULL,
    p_value float8 NOT NULL, rows integer NOT NULL, drifted boolean NOT NULL,
    PRIMARY KEY (called_on, version, feature)
);

CREATE TABLE scoring.value_policy (
    version bigserial PRIMARY KEY, policy text NOT NULL, reason text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE scoring.value_base (
    version bigserial PRIMARY KEY, base text NOT NULL, measured_at timestamptz NOT NULL
);

CREATE TABLE scoring.value_job (
    name text PRIMARY KEY, requested bigint NOT NULL, requested_at timestamptz,
    done bigint NOT NULL, cursor text NOT NULL, leased_until timestamptz
);

CREATE TABLE scoring.segment_definition (
    revision bigserial PRIMARY KEY, id text NOT NULL, version integer NOT NULL,
    name text NOT NULL, description text NOT NULL, expression text NOT NULL, action text,
    act_on_existing boolean NOT NULL, retired boolean NOT NULL, created_at timestamptz NOT NULL,
    UNIQUE (id, version)
);

CREATE TABLE scoring.grade_override (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id text NOT NULL,
    grade text NOT NULL, reason text NOT NULL, set_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL, ended_at timestamptz
);
CREATE UNIQUE INDEX ix_grade_override_open
    ON scoring.grade_override (customer_id) WHERE ended_at IS NULL;

CREATE TABLE scoring.standing (
    customer_id text PRIMARY KEY, partition integer NOT NULL, sequence bigint NOT NULL,
    at timestamptz NOT NULL, grade text, tier text, behaviour text, lifecycle text,
    lifecycle_since timestamptz NOT NULL, segments text[] NOT NULL,
    rules_revision bigint NOT NULL, policy_version bigint NOT NULL, needs text[] NOT NULL,
    quality text[] NOT NULL, rfm text, rfm_cell text, score float8, worth float8,
    lifetime_value float8, lifetime_value_days integer, expected_purchases float8,
    alive_probability float8, value_at_risk float8, net_spent float8, profit float8,
    overridden boolean NOT NULL
) WITH (fillfactor=70);
CREATE INDEX ix_standing_grade ON scoring.standing (grade, worth);
CREATE INDEX ix_standing_lifecycle ON scoring.standing (lifecycle, net_spent);

CREATE TABLE scoring.standing_change (
    recorded_at timestamptz NOT NULL DEFAULT now(), at timestamptz NOT NULL,
    customer_id text NOT NULL, sequence bigint NOT NULL, kind text NOT NULL, before text,
    after text, segment text, segment_version integer, silent boolean NOT NULL
) PARTITION BY RANGE (recorded_at);
CREATE INDEX ix_standing_change_customer ON scoring.standing_change (customer_id, sequence);

CREATE TABLE scoring.standing_change_rest PARTITION OF scoring.standing_change DEFAULT;

CREATE TABLE scoring.segment_member (
    segment_id text, customer_id text, entered_at timestamptz NOT NULL,
    PRIMARY KEY (segment_id, customer_id)
);

CREATE TABLE scoring.absence (
    customer_id text PRIMARY KEY, begins_at timestamptz NOT NULL, ends_at timestamptz NOT NULL,
    reason text NOT NULL, announced_at timestamptz NOT NULL
);

CREATE TABLE scoring.unfinished (
    topic text, partition integer, begin bigint NOT NULL, "end" bigint NOT NULL,
    alone boolean NOT NULL, careful_to bigint NOT NULL, by text NOT NULL, times integer NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE scoring.items_begun (
    kind text, by text, items text[] NOT NULL, PRIMARY KEY (kind, by)
);

CREATE TABLE scoring.suspect (
    kind text, item text, failures integer NOT NULL, reason text NOT NULL, aside_at timestamptz,
    PRIMARY KEY (kind, item)
);

INSERT INTO scoring.value_job
VALUES ('relook', 0, NULL, 0, '', NULL), ('measure', 0, NULL, 0, '', NULL)
"""

KEY_PARTITIONS = 16
"""Hash partitions of the event keys: keeps each index small enough to stay cached."""

UNCOMPRESSED = {"customer_state": "state", "outbox": "messages"}
"""Columns that every batch writes anew: compressing them costs time and saves nothing."""

HOT = {"customer_state": 0.02, "timer": 0.05, "outbox": 0.05, "partition": 0.0}
"""Autovacuum's scale factor by table: its default of a fifth lets a table that every batch
overwrites grow by a fifth, and its index scans with it, before the first clean-up."""


def upgrade() -> None:
    """Create everything."""
    for statement in TABLES.split(";\n"):
        op.execute(statement)
    for i in range(KEY_PARTITIONS):
        op.execute(
            f"CREATE TABLE scoring.event_key_{i:02} PARTITION OF scoring.event_key "
            f"FOR VALUES WITH (MODULUS {KEY_PARTITIONS}, REMAINDER {i})"
        )
    for table, column in UNCOMPRESSED.items():
        op.execute(f"ALTER TABLE scoring.{table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
    for table, scale in HOT.items():
        op.execute(
            f"ALTER TABLE scoring.{table} SET (autovacuum_vacuum_scale_factor = {scale}, "
            "autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.05)"
        )
