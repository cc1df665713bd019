"""The tables of alerts at revision 0013, from which migrations go on.

The revisions before it were folded into this one before any release (docs/decisions/0031).
"""

from alembic import op

revision = "alerts_0013"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE alerts.partition (
    topic text, partition integer, epoch bigint NOT NULL, next_offset bigint,
    fingerprint_ms bigint, fingerprint_digest bytea, progress text NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'running', status_reason text, worker text NOT NULL,
    claimed_at timestamptz NOT NULL, moved_at timestamptz, drain_to bigint,
    waits boolean NOT NULL DEFAULT false, PRIMARY KEY (topic, partition)
) WITH (fillfactor=20);

CREATE TABLE alerts.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, cause_topic text NOT NULL,
    cause_partition integer NOT NULL, messages bytea NOT NULL
);
ALTER TABLE alerts.outbox ALTER COLUMN messages SET STORAGE EXTERNAL;

CREATE TABLE alerts.api_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
    digest bytea NOT NULL UNIQUE, scopes text[] NOT NULL, created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE alerts.customer (
    customer_id text PRIMARY KEY, revision bigint NOT NULL DEFAULT '-1', band text,
    armed boolean NOT NULL DEFAULT true, ramp_until timestamptz, raised_at timestamptz,
    episode integer NOT NULL DEFAULT 0, purchased_at timestamptz, profile jsonb,
    profile_at timestamptz, profile_event_id text, probability float8, recent timestamptz[],
    win_back_at timestamptz, grade text, warned jsonb, value_at_risk float8, currency text,
    horizon_days integer, leaving_cause text, leaving_at timestamptz, graded_at timestamptz
) WITH (fillfactor=70);
CREATE INDEX ix_customer_birthday
    ON alerts.customer (substr(profile ->> 'birthday', 6)) WHERE profile ? 'birthday';

CREATE TABLE alerts.task (
    customer_id text, id text, cause text NOT NULL, episode integer NOT NULL,
    status text NOT NULL, version integer NOT NULL, customer_name text, owner_id text,
    owner_name text, language text NOT NULL, time_zone text, band text NOT NULL,
    probability float8 NOT NULL, horizon_days integer NOT NULL, reasons jsonb NOT NULL,
    days_silent float8, last_purchase_at timestamptz, expected_value float8 NOT NULL,
    value_at_risk float8 NOT NULL, currency text NOT NULL, revision bigint NOT NULL,
    model_version text NOT NULL, opened_at timestamptz NOT NULL, due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL, received_ms bigint NOT NULL, closed_at timestamptz,
    close_reason text, verdict text, note text, leaving_cause text,
    kind text NOT NULL DEFAULT 'retention', plan jsonb NOT NULL DEFAULT '{"playbook": "any"}',
    policy text NOT NULL DEFAULT 'default@0', grade text, tier text, lifecycle text,
    queue text NOT NULL DEFAULT 'owner', grade_rank smallint NOT NULL DEFAULT '2',
    worth float8 NOT NULL DEFAULT '0', progress text NOT NULL DEFAULT 'new',
    snoozed_until timestamptz, respond_by timestamptz, escalations smallint NOT NULL DEFAULT '0',
    escalated_to text, expires_at timestamptz, waiting text, tell_at timestamptz,
    allocated_at timestamptz, changed_at timestamptz, causes text[] NOT NULL DEFAULT '{}',
    suspected_leaving_cause text, lapse_probability float8, lapse_days float8,
    PRIMARY KEY (customer_id, id)
);
CREATE UNIQUE INDEX uq_task_open ON alerts.task (customer_id, cause) WHERE status = 'open';
CREATE INDEX ix_task_id ON alerts.task (id);
CREATE INDEX ix_task_newest ON alerts.task (opened_at, id);
CREATE INDEX ix_task_owner ON alerts.task (owner_id, opened_at, id);
CREATE INDEX ix_task_expires ON alerts.task (expires_at) WHERE status = 'open';
CREATE INDEX ix_task_queue
    ON alerts.task (queue, owner_id, grade_rank, worth DESC, id) WHERE status = 'open';
CREATE INDEX ix_task_respond_by ON alerts.task (respond_by) WHERE status = 'open';
CREATE INDEX ix_task_waiting
    ON alerts.task (waiting, tell_at) WHERE status = 'open' AND waiting IS NOT NULL;
CREATE INDEX ix_task_worth
    ON alerts.task (queue, grade_rank, worth DESC, id) WHERE status = 'open';

CREATE TABLE alerts.delivery (
    customer_id text, id text, seq bigint GENERATED ALWAYS AS IDENTITY, endpoint_id text NOT NULL,
    task_id text NOT NULL, kind text NOT NULL, body bytea NOT NULL,
    status text NOT NULL DEFAULT 'pending', attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL, token uuid, created_at timestamptz NOT NULL,
    received_ms bigint NOT NULL, finished_at timestamptz,
    uncertain boolean NOT NULL DEFAULT false, reason text, lost smallint NOT NULL DEFAULT '0',
    PRIMARY KEY (customer_id, id)
) WITH (fillfactor=80);
CREATE INDEX ix_delivery_due
    ON alerts.delivery (endpoint_id, next_at, seq) WHERE status = 'pending';
CREATE INDEX ix_delivery_turn
    ON alerts.delivery (endpoint_id, customer_id, seq) WHERE status = 'pending';
CREATE INDEX ix_delivery_oldest ON alerts.delivery (created_at) WHERE status = 'pending';
CREATE INDEX ix_delivery_id ON alerts.delivery (id);
CREATE INDEX ix_delivery_seq ON alerts.delivery (seq);
CREATE INDEX ix_delivery_task ON alerts.delivery (task_id);
CREATE INDEX ix_delivery_finished ON alerts.delivery (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE alerts.endpoint (
    id text PRIMARY KEY, disabled_at timestamptz, disabled_reason text,
    source text NOT NULL DEFAULT 'settings', kind text NOT NULL DEFAULT 'webhook', url text,
    config jsonb NOT NULL DEFAULT '{}', route jsonb NOT NULL DEFAULT '{}',
    payload text NOT NULL DEFAULT 'full', concurrency_max integer NOT NULL DEFAULT 16,
    rate_per_s float8, burst integer NOT NULL DEFAULT 1, version bigint NOT NULL DEFAULT '1',
    created_at timestamptz NOT NULL DEFAULT now(), paused_at timestamptz, deleted_at timestamptz,
    failing_since timestamptz, tokens float8 NOT NULL DEFAULT '0', tokens_at timestamptz
);

CREATE TABLE alerts.task_event (
    customer_id text, number bigint GENERATED ALWAYS AS IDENTITY, task_id text NOT NULL,
    at timestamptz NOT NULL, recorded_at timestamptz NOT NULL, actor text NOT NULL,
    kind text NOT NULL, detail jsonb NOT NULL, PRIMARY KEY (customer_id, number)
);
CREATE INDEX ix_task_event_task ON alerts.task_event (task_id, number);

CREATE TABLE alerts.owner (
    id text PRIMARY KEY, name text, time_zone text, capacity_per_day integer, manager_id text,
    fallback_id text, updated_at timestamptz NOT NULL, updated_by text NOT NULL
);

CREATE TABLE alerts.policy (
    version integer PRIMARY KEY, document jsonb NOT NULL, diff text NOT NULL, actor text NOT NULL,
    note text, created_at timestamptz NOT NULL
);

CREATE TABLE alerts.idempotency (
    holder text, key text, digest bytea NOT NULL, status smallint NOT NULL, body bytea NOT NULL,
    created_at timestamptz NOT NULL, PRIMARY KEY (holder, key)
);
CREATE INDEX ix_idempotency_created ON alerts.idempotency (created_at);

CREATE TABLE alerts.trial (
    customer_id text, id text, policy text NOT NULL, policy_version integer NOT NULL,
    arm text NOT NULL, eligible boolean NOT NULL, at timestamptz NOT NULL,
    until timestamptz NOT NULL, cause text NOT NULL, playbook text NOT NULL, owner_id text,
    grade text, segments jsonb NOT NULL, revision bigint NOT NULL, probability float8 NOT NULL,
    value_at_risk float8 NOT NULL, returned_at timestamptz, purchases integer, revenue float8,
    measured_at timestamptz, PRIMARY KEY (customer_id, id)
);
CREATE INDEX ix_trial_policy ON alerts.trial (policy, at);
CREATE INDEX ix_trial_unmeasured ON alerts.trial (until) WHERE measured_at IS NULL;

CREATE TABLE alerts.purchase (
    customer_id text, source text, id text, at timestamptz NOT NULL, amount float8 NOT NULL,
    refund boolean NOT NULL, PRIMARY KEY (customer_id, source, id)
);
CREATE INDEX ix_purchase_at ON alerts.purchase (at);

CREATE TABLE alerts.assessment (
    customer_id text, revision bigint, assessed_at timestamptz NOT NULL, message bytea NOT NULL,
    PRIMARY KEY (customer_id, revision)
);
CREATE INDEX ix_assessment_at ON alerts.assessment (assessed_at);

CREATE TABLE alerts.save_rate (
    playbook text PRIMARY KEY, rate float8 NOT NULL, treated integer NOT NULL,
    held_out integer NOT NULL, measured_at timestamptz NOT NULL
);

CREATE TABLE alerts.segment_entry (
    customer_id text, segment text, entry text, at timestamptz NOT NULL,
    PRIMARY KEY (customer_id, segment, entry)
);
CREATE INDEX ix_segment_entry_at ON alerts.segment_entry (at);

CREATE TABLE alerts.endpoint_secret (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, endpoint_id text NOT NULL,
    name text NOT NULL, key_id text NOT NULL, sealed bytea NOT NULL,
    created_at timestamptz NOT NULL, expires_at timestamptz
);
CREATE INDEX ix_endpoint_secret ON alerts.endpoint_secret (endpoint_id, name, id);

CREATE TABLE alerts.remote_task (
    customer_id text, endpoint_id text, task_id text, remote_id text NOT NULL,
    created_at timestamptz NOT NULL, PRIMARY KEY (customer_id, endpoint_id, task_id)
);
CREATE INDEX ix_remote_task ON alerts.remote_task (endpoint_id, remote_id);

CREATE TABLE alerts.callback (
    endpoint_id text, key text, seen_at timestamptz NOT NULL, PRIMARY KEY (endpoint_id, key)
);
CREATE INDEX ix_callback_seen ON alerts.callback (seen_at);

CREATE TABLE alerts.attempt (
    customer_id text NOT NULL, delivery_id text NOT NULL, number integer NOT NULL,
    started_at timestamptz NOT NULL, duration_ms float8 NOT NULL, outcome text NOT NULL,
    response_status integer, response_head text NOT NULL, error text, next_at timestamptz
) PARTITION BY RANGE (started_at);
CREATE INDEX ix_attempt_delivery ON alerts.attempt (customer_id, delivery_id, started_at);

CREATE TABLE alerts.attempt_rest PARTITION OF alerts.attempt DEFAULT;

CREATE TABLE alerts.endpoint_owner (
    endpoint_id text, owner_id text, remote_id text NOT NULL, PRIMARY KEY (endpoint_id, owner_id)
);

CREATE TABLE alerts.access_token (
    endpoint_id text PRIMARY KEY, version bigint, key_id text, sealed bytea,
    obtained_at timestamptz, expires_at timestamptz, turn_until timestamptz,
    asked_at timestamptz[] NOT NULL DEFAULT '{}'
);

CREATE TABLE alerts.look (
    endpoint_id text PRIMARY KEY, since timestamptz NOT NULL, next_at timestamptz NOT NULL,
    watched_until timestamptz
);

CREATE TABLE alerts.member_pace (
    endpoint_id text, member text, tokens float8 NOT NULL, tokens_at timestamptz NOT NULL,
    PRIMARY KEY (endpoint_id, member)
);

CREATE TABLE alerts.unfinished (
    topic text, partition integer, begin bigint NOT NULL, "end" bigint NOT NULL,
    alone boolean NOT NULL, careful_to bigint NOT NULL, by text NOT NULL, times integer NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE alerts.items_begun (
    kind text, by text, items text[] NOT NULL, PRIMARY KEY (kind, by)
);

CREATE TABLE alerts.suspect (
    kind text, item text, failures integer NOT NULL, reason text NOT NULL, aside_at timestamptz,
    PRIMARY KEY (kind, item)
)
"""


def upgrade() -> None:
    """Create everything."""
    for statement in TABLES.split(";\n"):
        op.execute(statement)
