"""Decodes batches of the topics that scoring publishes; an unreadable record is a dead letter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from services.alerts.inbound.dead_letters import dead_letter
from services.alerts.inbound.erasures import erasure_of
from services.alerts.ports import Decoded, Seen
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.errors import Invalid


@dataclass(frozen=True, slots=True)
class TopicDecoder(Generic[Seen]):
    """Decodes a batch of one topic by `read`, which returns None for a record to skip."""

    dead_letter_topic: str
    read: Callable[[ConsumedRecord], Seen | None]

    def __call__(self, batch: Batch) -> Decoded[Seen]:
        """Return what was read in the log's order; tombstones end what was before them."""
        decoded: Decoded[Seen] = Decoded([], [], [])
        for records in batch.records.values():
            for record in records:
                if record.value is None and (end := erasure_of(record)) is not None:
                    decoded.erased.append(end)
                    decoded.seen[:] = [s for s in decoded.seen if s.customer_id != end.customer_id]
                    continue
                try:
                    if (seen := self.read(record)) is not None:
                        decoded.seen.append(seen)
                except Invalid as wrong:
                    decoded.dead.append(dead_letter(record, self.dead_letter_topic, wrong))
        return decoded
