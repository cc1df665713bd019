"""Use case: sends a control event to every partition of the activity topic.

A replay's clock and the end of a backfill concern all customers, so each partition must receive
them in its own order: after the records sent before, before the ones sent next.
"""

from shared.contracts.dead_letter import Headers
from shared.kafka.producer import Record


def to_every_partition(topic: str, partitions: int, value: bytes, headers: Headers) -> list[Record]:
    """Returns one copy for each partition, without a key."""
    return [Record(topic, None, value, headers, partition=n) for n in range(partitions)]
