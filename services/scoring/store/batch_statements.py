"""SQL statements of a batch, and the staging tables that they read; `batch` runs them."""

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.store.classification import STAGING as CLASSIFICATION_STAGING
from shared.postgres.fetch_columns import Gathering

REVISIONS_ABOVE = "revisions_above"
"""Key of a partition's progress, set by `restored`: customers without a number are numbered above
it, since they may have had numbers that the restored database does not know."""

_REVISION = f"""coalesce(s.revision, (SELECT max((progress::json ->> '{REVISIONS_ABOVE}')::int8)
                                         FROM scoring.partition), 0)"""  # noqa: S608

# Times are staged as Unix seconds, exact to the microsecond: writing a datetime object costs Python
# more than all other columns of its row, `to_timestamp` costs next to nothing.
STAGING = f"""
{CLASSIFICATION_STAGING}
CREATE TEMP TABLE IF NOT EXISTS s_key (n int, customer_id text, source text, id text,
    content_hash bytea) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS s_customer (customer_id text, partition int, state bytea,
    stored bool, assessed bool, revision bigint, assessed_at float8, probability float8,
    band smallint, look_at float8, published_signs smallint, value_at_risk float8, horizons bytea,
    told bool) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS s_timer (customer_id text, partition int, due_at float8,
    before float8, stored bool) ON COMMIT DELETE ROWS;
"""

# A batch touches few rows of large tables, always by key. Where a table was empty at its last
# ANALYZE, the planner would choose, and keep, a full scan of the keys for each event.
BEGIN = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)
"""

KNOWN = """
SELECT k.n, e.content_hash
  FROM s_key k,
       LATERAL (SELECT content_hash FROM scoring.event_key e
                 WHERE e.customer_id = k.customer_id AND e.source = k.source AND e.id = k.id
                 LIMIT 1) e
"""

DUE_SHARES = 2
"""Equal shares of a sweep that one partition may fill at most, so that few are found in vain; a
partition that alone has many silent customers takes more batches, which follow at once."""

DUE = Gathering(
    {"partition": ("int4", "d.partition"), "at": ("float8", "date_part('epoch', d.due_at)")},
    {"customer": "d.customer_id"},
    """
  FROM (SELECT t.customer_id, p.partition, t.due_at
          FROM unnest($1::int[], $2::timestamptz[]) AS p(partition, now),
               LATERAL (SELECT customer_id, due_at FROM scoring.timer
                         WHERE partition = p.partition AND due_at <= p.now
                           AND customer_id <> ALL($5::text[])
                           AND (cardinality($6::text[]) = 0 OR customer_id = ANY($6::text[]))
                         ORDER BY due_at LIMIT $4) t
         ORDER BY t.due_at, t.customer_id LIMIT $3) d
""",
)

# In the order of the requested customers, as they are numbered. One byte per customer defines
# whether the timer is read.
LOAD = Gathering(
    {
        "feature_set": ("int2", "coalesce(s.feature_set, -1::smallint)"),
        "revision": ("int8", _REVISION),
        "probability": (
            "float8",
            f"CASE WHEN s.assessed_feature_set = {FEATURE_SET} THEN s.probability END",
        ),
        "band": ("int2", "coalesce(s.band, -1::smallint)"),
        "published_at": ("float8", "date_part('epoch', s.published_at)"),
        "published_probability": ("float8", "s.published_probability"),
        "published_band": ("int2", "coalesce(s.published_band, -1::smallint)"),
        "published_signs": ("int2", "coalesce(s.published_signs, 0::smallint)"),
        "due_at": ("float8", "date_part('epoch', t.due_at)"),
        "look_at": ("float8", "date_part('epoch', s.look_at)"),
        "grouped": ("bool", "coalesce(s.grouped, false)"),
    },
    {name: f"s.{name}" for name in ("state", "model_version")},
    """
  FROM unnest($1::text[]) WITH ORDINALITY AS c(customer_id, n)
  LEFT JOIN LATERAL (SELECT state, feature_set, revision, assessed_feature_set, probability, band,
                            model_version, published_at, published_probability, published_band,
                            published_signs, look_at, grouped
                       FROM scoring.customer_state s
                      WHERE s.customer_id = c.customer_id LIMIT 1) s ON true
  LEFT JOIN LATERAL (SELECT due_at FROM scoring.timer t
                      WHERE t.customer_id = c.customer_id AND get_byte($2, c.n::int - 1) > 0
                      LIMIT 1) t ON true
""",
    place="c.n",
)

# Columns that an assessment writes, and those that a published one writes in addition: each with
# its value from a staged row `n`, and the condition under which there is one.
_ASSESSED = {
    **{name: f"n.{name}" for name in ("revision", "probability", "band", "horizons")},
    **{name: f"to_timestamp(n.{name})" for name in ("assessed_at", "look_at")},
    "method": "$2::text",
    "model_version": "$3::text",
    "assessed_feature_set": "$4::smallint",
    "horizon_days": "$5::smallint",
    "published_signs": "n.published_signs",
}
_PUBLISHED = {
    "published_at": "to_timestamp(n.assessed_at)",
    **{f"published_{name}": f"n.{name}" for name in ("probability", "band", "value_at_risk")},
}
_WRITTEN = {
    **{name: ("n.assessed", value) for name, value in _ASSESSED.items()},
    **{name: ("n.told", value) for name, value in _PUBLISHED.items()},
}

MERGE_KEYS = """
INSERT INTO scoring.event_key (customer_id, source, id, content_hash, recorded_on)
SELECT customer_id, source, id, content_hash, $1 FROM s_key ORDER BY customer_id, source, id
"""

# One row and one write for both: a state without an assessment (an import, or before a tick), an
# assessment without a new state (a silent customer), or the two together. Stored rows are updated,
# not inserted with ON CONFLICT, which would lock each row before it changes it.
_CHANGES = ", ".join(
    f"{name} = CASE WHEN {given} THEN {value} ELSE s.{name} END"
    for name, (given, value) in _WRITTEN.items()
)
CHANGE_CUSTOMERS = f"""
UPDATE scoring.customer_state s
   SET feature_set = $1, state = coalesce(n.state, s.state), {_CHANGES}
  FROM (SELECT * FROM s_customer WHERE stored ORDER BY customer_id) n
 WHERE s.customer_id = n.customer_id AND s.partition = n.partition
   AND (NOT n.assessed OR n.revision = {_REVISION} + 1)
"""  # noqa: S608 (names of our own columns)

ADD_CUSTOMERS = f"""
INSERT INTO scoring.customer_state (customer_id, partition, feature_set, state,
       {", ".join(_WRITTEN)})
SELECT customer_id, partition, $1, state,
       {", ".join(f"CASE WHEN {given} THEN {value} END" for given, value in _WRITTEN.values())}
  FROM s_customer n WHERE NOT stored ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""  # noqa: S608 (names of our own columns)

# A customer's home is the partition that owns the state: only its claim may write it. After
# partitions were added, two of them can contain events of one customer, and two workers would read
# the same state and overwrite each other's. The home changes only here, under the row's lock and
# before the state is read; a write from another partition changes no row, which is detected. An id
# that is part of another customer has no home, and is not moved (`identity_tables.NO_HOME`).
OTHER_HOME = """
SELECT n.customer_id, n.partition
  FROM s_customer n JOIN scoring.customer_state s USING (customer_id)
 WHERE s.partition <> n.partition AND s.partition >= 0 ORDER BY 1
"""

ADOPT = """
WITH home AS (
  SELECT s.customer_id, h.partition
    FROM unnest($1::text[], $2::int[]) AS h(customer_id, partition)
    JOIN scoring.customer_state s USING (customer_id) ORDER BY 1 FOR UPDATE OF s
), moved AS (
  UPDATE scoring.customer_state s SET partition = h.partition
    FROM home h WHERE s.customer_id = h.customer_id
)
UPDATE scoring.timer t SET partition = h.partition FROM home h WHERE t.customer_id = h.customer_id
"""

CHANGE_TIMERS = """
UPDATE scoring.timer t SET partition = n.partition, due_at = to_timestamp(n.due_at)
  FROM (SELECT * FROM s_timer WHERE stored ORDER BY customer_id) n
 WHERE t.customer_id = n.customer_id AND t.due_at = to_timestamp(n.before)
"""

ADD_TIMERS = """
INSERT INTO scoring.timer (customer_id, partition, due_at)
SELECT customer_id, partition, to_timestamp(due_at) FROM s_timer WHERE NOT stored
 ORDER BY customer_id
ON CONFLICT (customer_id) DO NOTHING
"""

MERGE_PROFILES = """
INSERT INTO scoring.profile AS p (customer_id, changed_at, event_id, profile, owner_id)
SELECT DISTINCT ON (c) c, t, i, d, o
  FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bytea[], $5::text[])
       AS u(c, t, i, d, o)
 ORDER BY c, t DESC, i DESC
ON CONFLICT (customer_id) DO UPDATE
   SET changed_at = excluded.changed_at, event_id = excluded.event_id, profile = excluded.profile,
       owner_id = excluded.owner_id
 WHERE (p.changed_at, p.event_id) < (excluded.changed_at, excluded.event_id)
"""
