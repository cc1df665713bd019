"""What the audit keeps of alerts before and after a change, and which command changes what.

A query names its columns: none is a secret, a person's name, or a text about a customer.
"""

from typing import Final

from shared.postgres.audit import State, partition_state

POLICY: Final = State(
    "SELECT version, document->'document' AS document FROM alerts.policy "
    "ORDER BY version DESC LIMIT 1"
)
OWNER: Final = State(
    "SELECT id, time_zone, capacity_per_day, manager_id, fallback_id FROM alerts.owner "
    "WHERE id = $1",
    ("owner_id", "id"),
)
ENDPOINT: Final = State(
    """
    SELECT id, kind, url, config, route, payload, concurrency_max, rate_per_s, burst, paused_at,
           disabled_at, deleted_at,
           (SELECT jsonb_agg(jsonb_build_object('name', s.name, 'since', s.created_at,
                                                'until', s.expires_at) ORDER BY s.id)
              FROM alerts.endpoint_secret s WHERE s.endpoint_id = e.id) AS sealed
      FROM alerts.endpoint e WHERE id = $1
    """,
    ("endpoint_id", "id"),
)
"""`sealed`: which secrets there are and since when, without their values."""
OWNER_TABLE: Final = State(
    """
    SELECT count(*) AS owners, md5(string_agg(owner_id || ' ' || remote_id, ',' ORDER BY owner_id))
           AS digest, CASE WHEN count(*) <= 500 THEN jsonb_object_agg(owner_id, remote_id) END
           AS remote_ids
      FROM alerts.endpoint_owner WHERE endpoint_id = $1 HAVING count(*) > 0
    """,
    ("endpoint_id",),
)
"""Whole up to 500 owners, else as a digest."""
SEALED: Final = State(
    "SELECT key_id AS sealed_by, count(*) FROM alerts.endpoint_secret GROUP BY 1 ORDER BY 1"
)
PARTITION: Final = partition_state("alerts")

COMMANDS: Final = {
    "policies put": POLICY,
    "policies tune": POLICY,
    "owners put": OWNER,
    "endpoints create": ENDPOINT,
    "endpoints rotate": ENDPOINT,
    "endpoints pause": ENDPOINT,
    "endpoints enable": ENDPOINT,
    "endpoints delete": ENDPOINT,
    "endpoints reencrypt": SEALED,
    "partitions resume": PARTITION,
}
