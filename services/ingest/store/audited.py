"""What the audit keeps of ingest before and after a change, and which command changes what."""

from typing import Final

from shared.postgres.audit import State, partition_state

MAPPINGS: Final = State(
    "SELECT DISTINCT ON (name) name, version, topics, http_sources, md5(document) AS digest "
    "FROM ingest.mapping ORDER BY name, version DESC"
)
"""Those in force. Every version's document stays in the table: `mappings show --version`."""
STOP: Final = State(
    "SELECT id, stopped_at, resumed_at FROM ingest.intake_stop ORDER BY id DESC LIMIT 1"
)

PARTITION: Final = partition_state("ingest")

COMMANDS: Final = {
    "mappings put": MAPPINGS,
    "intake resume": STOP,
    "partitions resume": PARTITION,
}
