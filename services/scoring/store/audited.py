"""What the audit keeps of scoring before and after a change, and which command changes what.

A query names its columns: none is a person's name, or a text about a customer.
"""

from typing import Final

from shared.postgres.audit import State, partition_state

_PRIMARY: Final = (
    "coalesce((SELECT primary_id FROM scoring.member WHERE customer_id = $1), $1::text)"
)
"""The id under which the customer with the id `$1` is kept."""

VALUE_POLICY: Final = State(
    "SELECT version, policy::jsonb AS policy FROM scoring.value_policy ORDER BY version DESC "
    "LIMIT 1"
)
SEGMENT: Final = State(
    "SELECT id, version, name, expression, action, act_on_existing, retired "
    "FROM scoring.segment_definition WHERE id = $1 ORDER BY version DESC LIMIT 1",
    ("segment_id", "id"),
)
GRADE: Final = State(
    "SELECT grade, set_at, expires_at FROM scoring.grade_override "  # noqa: S608 (a name of ours)
    f"WHERE ended_at IS NULL AND customer_id = {_PRIMARY}",
    ("customer_id",),
)
ABSENCE: Final = State(
    "SELECT begins_at, ends_at, announced_at FROM scoring.absence "  # noqa: S608 (a name of ours)
    f"WHERE customer_id = {_PRIMARY}",
    ("customer_id", "customer"),
)
PROFILING: Final = State(
    "SELECT refused_at, allowed_at FROM scoring.profiling "  # noqa: S608 (a name of ours)
    f"WHERE customer_id = {_PRIMARY}",
    ("customer",),
    later=True,
)
"""Whether the customer may be assessed; the statement counts when scoring reads it."""
IDS: Final = State(
    f"SELECT count(*) AS ids FROM scoring.member WHERE primary_id = {_PRIMARY}",  # noqa: S608
    ("ids", "contact"),
    later=True,
)
"""How many ids the customer has (0: only this one). Scoring decides on a statement when it reads
it; `identities show` and the table `identity_statement` have what it decided."""
MODELS: Final = State(
    """
    SELECT (SELECT version FROM scoring.model_promotion ORDER BY id DESC LIMIT 1) AS serving,
           (SELECT jsonb_agg(version ORDER BY version) FROM scoring.model
             WHERE shadow_since IS NOT NULL) AS challengers,
           (SELECT count(*) FROM scoring.model) AS models
    """
)
"""`serving` null: the rule."""
PARTITION: Final = partition_state("scoring")
PARTITIONS: Final = State(
    "SELECT topic, partition, next_offset, status, progress::jsonb AS progress "
    "FROM scoring.partition ORDER BY topic, partition"
)

COMMANDS: Final = {
    "value policy": VALUE_POLICY,
    "segments define": SEGMENT,
    "segments retire": SEGMENT,
    "absences announce": ABSENCE,
    "absences end": ABSENCE,
    "profiling refuse": PROFILING,
    "profiling allow": PROFILING,
    "identities link": IDS,
    "identities contact": IDS,
    "identities unlink": IDS,
    "train": MODELS,
    "retrain": MODELS,
    "models promote": MODELS,
    "models rollback": MODELS,
    "models shadow": MODELS,
    "partitions resume": PARTITION,
    "partitions rewind": PARTITION,
    "partitions forget": PARTITION,
    "imports end": PARTITIONS,
}
