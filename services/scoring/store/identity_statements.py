"""SQL statements of identity: what moves when customers become one or come apart.

Parameters are arrays of equal length, one element for each id; `identity` runs the statements.
"""

from typing import Final

from services.scoring.core.risk.timers import PULLED
from services.scoring.store.identity_tables import NO_HOME

EVERYTHING: Final = "SELECT pg_advisory_xact_lock(hashtext('scoring.identity'))"
"""One transaction at a time changes groups: those of several partitions may concern one group."""

FREEZE: Final = """
INSERT INTO scoring.member AS m
       (customer_id, primary_id, account, since, feature_set, own_state, frozen)
SELECT s.customer_id, u.primary_id, u.account, $4, s.feature_set, s.state,
       jsonb_strip_nulls(jsonb_build_object(
         'standing', (SELECT to_jsonb(x) FROM scoring.standing x
                       WHERE x.customer_id = s.customer_id),
         'entered', (SELECT jsonb_agg(to_jsonb(x)) FROM scoring.standing t
                       CROSS JOIN LATERAL unnest(t.segments) g(id)
                       JOIN scoring.segment_member x
                         ON x.segment_id = g.id AND x.customer_id = t.customer_id
                      WHERE t.customer_id = s.customer_id),
         'profile', (SELECT to_jsonb(x) FROM scoring.profile x
                      WHERE x.customer_id = s.customer_id),
         'absence', (SELECT to_jsonb(x) FROM scoring.absence x
                      WHERE x.customer_id = s.customer_id),
         'override', (SELECT to_jsonb(x) FROM scoring.grade_override x
                       WHERE x.customer_id = s.customer_id AND x.ended_at IS NULL)))
  FROM unnest($1::text[], $2::text[], $3::text[]) AS u(customer_id, primary_id, account)
  JOIN scoring.customer_state s USING (customer_id)
ON CONFLICT (customer_id) DO UPDATE
   SET primary_id = excluded.primary_id, account = excluded.account
"""

# A grade set by hand goes along where the survivor has none, with a note of the id it was set for;
# of announced absences the one that was announced last counts.
HAND_OVER: Final = """
WITH u AS (SELECT * FROM unnest($1::text[], $2::text[]) AS u(customer_id, primary_id)
), grade AS (
  INSERT INTO scoring.grade_override (customer_id, grade, reason, set_at, expires_at)
  SELECT DISTINCT ON (u.primary_id) u.primary_id, o.grade,
         o.reason || ' (set for ' || o.customer_id || ')', o.set_at, o.expires_at
    FROM u JOIN scoring.grade_override o USING (customer_id)
   WHERE o.ended_at IS NULL ORDER BY u.primary_id, o.set_at DESC
  ON CONFLICT (customer_id) WHERE ended_at IS NULL DO NOTHING
)
INSERT INTO scoring.absence AS a (customer_id, begins_at, ends_at, reason, announced_at)
SELECT DISTINCT ON (u.primary_id) u.primary_id, o.begins_at, o.ends_at, o.reason, o.announced_at
  FROM u JOIN scoring.absence o USING (customer_id) ORDER BY u.primary_id, o.announced_at DESC
ON CONFLICT (customer_id) DO UPDATE
   SET begins_at = excluded.begins_at, ends_at = excluded.ends_at, reason = excluded.reason,
       announced_at = excluded.announced_at
 WHERE excluded.announced_at > a.announced_at
"""

RETIRE: Final = f"""
WITH gone AS (SELECT unnest($1::text[]) AS customer_id
), state AS (
  UPDATE scoring.customer_state s SET partition = {NO_HOME}, grouped = false
    FROM gone WHERE s.customer_id = gone.customer_id
), timer AS (DELETE FROM scoring.timer t USING gone WHERE t.customer_id = gone.customer_id
), left_ AS (
  DELETE FROM scoring.segment_member m USING scoring.standing t JOIN gone USING (customer_id)
   WHERE m.customer_id = t.customer_id AND m.segment_id = ANY(t.segments)
), standing AS (DELETE FROM scoring.standing t USING gone WHERE t.customer_id = gone.customer_id
), profile AS (DELETE FROM scoring.profile t USING gone WHERE t.customer_id = gone.customer_id
), absence AS (DELETE FROM scoring.absence t USING gone WHERE t.customer_id = gone.customer_id
)
UPDATE scoring.grade_override o SET ended_at = $2
  FROM gone WHERE o.customer_id = gone.customer_id AND o.ended_at IS NULL
"""  # noqa: S608 (a constant of ours)

PUT: Final = """
UPDATE scoring.customer_state s
   SET state = n.state, feature_set = $4, partition = $3, grouped = true
  FROM unnest($1::text[], $2::bytea[]) AS n(customer_id, state)
 WHERE s.customer_id = n.customer_id
"""

ARM: Final = f"""
INSERT INTO scoring.timer AS t (customer_id, partition, due_at)
SELECT id, $2, to_timestamp({PULLED}) FROM unnest($1::text[]) AS u(id) ORDER BY id
ON CONFLICT (customer_id) DO UPDATE
   SET partition = excluded.partition, due_at = least(t.due_at, excluded.due_at)
"""  # noqa: S608 (a constant of ours)

APART: Final = """
WITH m AS (SELECT * FROM scoring.member WHERE primary_id = ANY($1::text[])
), gone AS (SELECT * FROM m WHERE customer_id <> primary_id
), standing AS (
  INSERT INTO scoring.standing
  SELECT r.* FROM gone, jsonb_populate_record(NULL::scoring.standing, frozen -> 'standing') r
   WHERE frozen ? 'standing'
), entered AS (
  INSERT INTO scoring.segment_member
  SELECT r.* FROM gone,
         jsonb_populate_recordset(NULL::scoring.segment_member, frozen -> 'entered') r
   WHERE frozen ? 'entered' ON CONFLICT DO NOTHING
), override AS (
  INSERT INTO scoring.grade_override (customer_id, grade, reason, set_at, expires_at)
  SELECT r.customer_id, r.grade, r.reason, r.set_at, r.expires_at
    FROM gone, jsonb_populate_record(NULL::scoring.grade_override, frozen -> 'override') r
   WHERE frozen ? 'override'
), handed AS (
  UPDATE scoring.grade_override o SET ended_at = $3 FROM gone
   WHERE o.customer_id = gone.primary_id AND o.ended_at IS NULL
     AND o.reason LIKE '% (set for ' || gone.customer_id || ')'
), announced AS (
  DELETE FROM scoring.absence a USING gone
   WHERE a.customer_id = gone.primary_id
     AND a.announced_at = (gone.frozen #>> '{absence,announced_at}')::timestamptz
)
UPDATE scoring.customer_state s
   SET state = m.own_state, feature_set = m.feature_set, partition = $2, grouped = false
  FROM m WHERE s.customer_id = m.customer_id
"""

ABSENCES_APART: Final = """
INSERT INTO scoring.absence
SELECT r.* FROM scoring.member m,
       jsonb_populate_record(NULL::scoring.absence, m.frozen -> 'absence') r
 WHERE m.primary_id = ANY($1::text[]) AND m.frozen ? 'absence' ORDER BY r.customer_id
ON CONFLICT DO NOTHING
"""

PROFILES_APART: Final = """
WITH m AS (SELECT * FROM scoring.member WHERE primary_id = ANY($1::text[])
), mixed AS (DELETE FROM scoring.profile p USING m
              WHERE p.customer_id = m.customer_id AND NOT m.frozen ? 'profile'
)
INSERT INTO scoring.profile
SELECT r.* FROM m, jsonb_populate_record(NULL::scoring.profile, frozen -> 'profile') r
 WHERE frozen ? 'profile' ORDER BY r.customer_id
ON CONFLICT (customer_id) DO UPDATE
   SET changed_at = excluded.changed_at, event_id = excluded.event_id, profile = excluded.profile,
       owner_id = excluded.owner_id
"""

KEYS_BACK: Final = """
WITH moved AS (
  SELECT DISTINCT ON (k.came_with, k.source, k.id) k.*
    FROM scoring.event_key k JOIN scoring.member m USING (customer_id)
   WHERE m.primary_id = ANY($1::text[]) AND k.came_with IS NOT NULL
)
INSERT INTO scoring.event_key (customer_id, source, id, content_hash, recorded_on)
SELECT came_with, source, id, content_hash, recorded_on FROM moved
ON CONFLICT DO NOTHING
"""

KEYS_OUT: Final = """
DELETE FROM scoring.event_key k USING scoring.member m
 WHERE m.primary_id = ANY($1::text[]) AND k.customer_id = m.customer_id AND k.came_with IS NOT NULL
"""

OWN_KEYS_BACK: Final = """
WITH own AS (DELETE FROM scoring.member_key k USING scoring.member m
              WHERE m.primary_id = ANY($1::text[]) AND k.customer_id = m.customer_id RETURNING k.*
)
INSERT INTO scoring.event_key (customer_id, source, id, content_hash, recorded_on)
SELECT customer_id, source, id, content_hash, recorded_on FROM own ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING
"""

REPEATED: Final = """
SELECT u.customer_id, k.source, k.id, k.recorded_on, coalesce(k.came_with, k.customer_id) AS origin
  FROM unnest($1::text[], $2::text[]) AS u(customer_id, primary_id)
  JOIN scoring.event_key k USING (customer_id)
  JOIN scoring.event_key w
    ON w.customer_id = u.primary_id AND w.source = k.source AND w.id = k.id
"""

ADOPT_KEYS: Final = """
INSERT INTO scoring.event_key (customer_id, source, id, content_hash, recorded_on, came_with)
SELECT u.primary_id, k.source, k.id, k.content_hash, k.recorded_on,
       coalesce(k.came_with, k.customer_id)
  FROM unnest($1::text[], $2::text[]) AS u(customer_id, primary_id)
  JOIN scoring.event_key k USING (customer_id)
ON CONFLICT DO NOTHING
"""
