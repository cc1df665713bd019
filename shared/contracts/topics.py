"""Every topic between the services: name, partition count and settings.

Created by `python -m deploy.local topics` (local stack) and by an operator in production with the
same values. Partition counts limit how many replicas can share the work.
"""

from dataclasses import dataclass, field
from datetime import timedelta

DAY_MS = 24 * 60 * 60 * 1000

MESSAGE_BYTES_MAX = 1024 * 1024
"""Largest accepted event, in bytes. A retail event is 0.2-2 KB; above 1 MiB is a fault."""

RAW_MESSAGE_BYTES_MAX = 4 * MESSAGE_BYTES_MAX
"""What the raw and dead-letter topics accept, so that an oversized event still reaches ingest and
becomes a dead letter with a reason instead of being refused at the producer."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's name, partition count and broker-side settings."""

    name: str
    partitions: int
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def retention(self) -> timedelta | None:
        """How long the broker keeps records; None for a compacted topic, which keeps the newest."""
        kept_ms = self.settings.get("retention.ms")
        return None if kept_ms is None else timedelta(milliseconds=int(kept_ms))


RAW = Topic(
    "ebbwatch.raw",
    partitions=6,
    settings={
        "retention.ms": str(7 * DAY_MS),
        "max.message.bytes": str(RAW_MESSAGE_BYTES_MAX),
        # The broker sets the arrival time, not the sender: latency is measured from it, and
        # retention would drop a record with the time of an event of last year.
        "message.timestamp.type": "LogAppendTime",
    },
)
ACTIVITY = Topic(
    "ebbwatch.activity",
    partitions=6,
    settings={"retention.ms": str(30 * DAY_MS), "max.message.bytes": str(RAW_MESSAGE_BYTES_MAX)},
)
DEAD_LETTER = Topic(
    "ebbwatch.dead-letter",
    partitions=3,
    settings={
        "retention.ms": str(30 * DAY_MS),
        "max.message.bytes": str(2 * RAW_MESSAGE_BYTES_MAX),
    },
)
RISK = Topic("ebbwatch.risk", partitions=6, settings={"cleanup.policy": "compact"})
TREATMENT = Topic("ebbwatch.treatment", partitions=6, settings={"retention.ms": str(90 * DAY_MS)})
CHANGES = Topic("ebbwatch.changes", partitions=6, settings={"retention.ms": str(90 * DAY_MS)})

ALL = (RAW, ACTIVITY, DEAD_LETTER, RISK, TREATMENT, CHANGES)
