"""What a consumer hands to a handler: the records of one batch and their partitions' claims."""

import hashlib
from dataclasses import dataclass

from shared.contracts import dead_letter
from shared.postgres.ledger import Claim, Fingerprint, Move
from shared.postgres.ledger import TopicPartition as Tp

ConsumedRecord = dead_letter.ConsumedRecord


def fingerprint(record: ConsumedRecord) -> Fingerprint:
    """Returns what identifies a consumed record when its offset is read again."""
    digest = hashlib.blake2b(record.key or b"", digest_size=16, person=b"ebbwatch")
    digest.update(b"\0" if record.value is None else b"\1" + record.value)
    return Fingerprint(record.timestamp, digest.digest())


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of work. `records` may lack partitions that are claimed."""

    claims: dict[Tp, Claim]
    records: dict[Tp, list[ConsumedRecord]]
    ends: dict[Tp, int]
    """End of each partition's log when it was read, where known."""
    alone: bool = False
    """A process has ended on this record's batch: nothing else may be done beside it."""

    def __bool__(self) -> bool:
        return bool(self.records)

    def move(self, tp: Tp, consumed: int, progress: dict[str, object]) -> Move:
        """Return the step over the first `consumed` records of `tp` (0: only its progress)."""
        claim = self.claims[tp]
        if consumed == 0:
            return Move(claim, claim.next_offset, claim.fingerprint, progress)
        last = self.records[tp][consumed - 1]
        return Move(claim, last.offset + 1, fingerprint(last), progress)

    def moves(self) -> list[Move]:
        """Return the steps over all records; what is stored beside the offsets stays as it is."""
        return [
            self.move(tp, len(records), dict(self.claims[tp].progress))
            for tp, records in self.records.items()
        ]
