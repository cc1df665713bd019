"""Use case: a control event reaches every partition of the activity topic.

A replay's clock and the end of a backfill concern all customers, so each partition must hear
of them in its own order: after what was sent before, before what is sent next.
"""

from shared.contracts.dead_letter import Headers
from shared.kafka.producer import Record


def to_every_partition(topic: str, partitions: int, value: bytes, headers: Headers) -> list[Record]:
    """One copy for each partition, without a key."""
    return [Record(topic, None, value, headers, partition=n) for n in range(partitions)]
