"""Dead letters of records that scoring refuses."""

from shared.contracts.dead_letter import DeadLetter
from shared.kafka.batch import ConsumedRecord
from shared.postgres.outbox import Message


def dead_letter(topic: str, record: ConsumedRecord, field: str, reason: str) -> Message:
    """Returns a record as a dead letter on this topic."""
    letter = DeadLetter.of(record, "scoring", field, reason)
    tp = (record.topic, record.partition)
    return Message(tp, topic, letter.key, letter.value, letter.to_headers())
