"""The tables of ingest at revision 0006, from which migrations go on.

The revisions before it were folded into this one before any release (docs/decisions/0031).
"""

from alembic import op

revision = "ingest_0006"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE ingest.partition (
    topic text, partition integer, epoch bigint NOT NULL, next_offset bigint,
    fingerprint_ms bigint, fingerprint_digest bytea, progress text NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'running', status_reason text, worker text NOT NULL,
    claimed_at timestamptz NOT NULL, moved_at timestamptz, drain_to bigint,
    waits boolean NOT NULL DEFAULT false, PRIMARY KEY (topic, partition)
) WITH (fillfactor=20);

CREATE TABLE ingest.api_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
    digest bytea NOT NULL UNIQUE, scopes text[] NOT NULL, created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE ingest.dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, origin_topic text NOT NULL,
    origin_partition integer NOT NULL, origin_offset bigint NOT NULL, key bytea, value bytea,
    header_names bytea[] NOT NULL, header_values bytea[] NOT NULL, stage text NOT NULL,
    field text NOT NULL, reason text NOT NULL, recorded_at timestamptz NOT NULL,
    settled_at timestamptz, state text NOT NULL DEFAULT 'waiting', settled_by text,
    settled_why text, producer text, arrived_ms bigint, replay_of bigint, dropped_at timestamptz,
    CONSTRAINT uq_dead_letter_origin UNIQUE (origin_topic, origin_partition, origin_offset)
);
CREATE INDEX ix_dead_letter_waiting ON ingest.dead_letter (id) WHERE state = 'waiting';
CREATE INDEX ix_dead_letter_settled
    ON ingest.dead_letter (settled_at) WHERE settled_at IS NOT NULL AND dropped_at IS NULL;
CREATE INDEX ix_dead_letter_replay_of
    ON ingest.dead_letter (replay_of) WHERE replay_of IS NOT NULL;

CREATE TABLE ingest.intake_stop (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, reason text NOT NULL,
    stopped_at timestamptz NOT NULL, resumed_at timestamptz
);

CREATE TABLE ingest.unfinished (
    topic text, partition integer, begin bigint NOT NULL, "end" bigint NOT NULL,
    alone boolean NOT NULL, careful_to bigint NOT NULL, by text NOT NULL, times integer NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE ingest.mapping (
    name text, version integer, document text NOT NULL, topics text[] NOT NULL,
    http_sources text[] NOT NULL, created_at timestamptz NOT NULL, actor text NOT NULL, note text,
    PRIMARY KEY (name, version)
);

CREATE TABLE ingest.idempotency (
    owner text, key text, digest bytea NOT NULL, status smallint, body bytea,
    created_at timestamptz NOT NULL, PRIMARY KEY (owner, key)
);
CREATE INDEX ix_idempotency_created ON ingest.idempotency (created_at);

CREATE TABLE ingest.source_clock (
    day date, source text, accepted bigint NOT NULL, future bigint NOT NULL,
    newest_at timestamptz, median_s float8, spread_s float8, updated_at timestamptz NOT NULL,
    PRIMARY KEY (day, source)
)
"""


def upgrade() -> None:
    """Create everything."""
    for statement in TABLES.split(";\n"):
        op.execute(statement)
