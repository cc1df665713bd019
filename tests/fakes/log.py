"""A log in memory: appended to like a topic, read in batches like those of a consumer.

The test provides the claims: from the real ledger, or invented.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.kafka.batch import Batch, ConsumedRecord
from shared.postgres.ledger import Claim, Move
from shared.postgres.ledger import TopicPartition as Tp

ARRIVED_MS = 1_772_355_600_000
"""2026-03-01T09:00:00Z: the default arrival time of records."""


@dataclass(slots=True)
class Consumed:
    """A record as a consumer sees it."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = ARRIVED_MS
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(slots=True)
class MemoryLog:
    """Partitions of one topic, each a list indexed by offset."""

    topic: str
    records: dict[Tp, list[ConsumedRecord]] = field(default_factory=lambda: defaultdict(list))

    def append(
        self,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp: int = ARRIVED_MS,
        headers: tuple[tuple[str, bytes | None], ...] = (),
    ) -> ConsumedRecord:
        """Add a record at the end of a partition."""
        log = self.records[self.topic, partition]
        log.append(Consumed(self.topic, partition, len(log), value, key, timestamp, headers))
        return log[-1]

    def batch(self, claims: Iterable[Claim], counts: Mapping[Tp, int] | int) -> Batch:
        """Return a consumer's batch: from each claim's offset, at most so many records."""
        owned = {claim.tp: claim for claim in claims}
        found: dict[Tp, list[ConsumedRecord]] = {}
        for tp, claim in owned.items():
            count = counts if isinstance(counts, int) else counts.get(tp, 0)
            start = claim.next_offset or 0
            if records := self.records[tp][start : start + count]:
                found[tp] = records
        return Batch(owned, found, {tp: len(self.records[tp]) for tp in owned})


def moved(claims: dict[Tp, Claim], moves: Sequence[Move]) -> None:
    """Apply committed moves to `claims`, as a consumer does."""
    for move in moves:
        claims[move.claim.tp] = move.done()
