"""Makes dead letters of unreadable records: the whole record, with the reason."""

import re

from shared.contracts.dead_letter import DeadLetter
from shared.kafka.batch import ConsumedRecord
from shared.kernel.errors import Invalid
from shared.postgres.outbox import Message

STAGE = "alerts"
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def nul_free(field: str, value: bytes) -> None:
    """Raise Invalid if JSON text contains the character U+0000, which PostgreSQL cannot store."""
    if b"\\u0000" in value and _NUL.search(value):
        raise Invalid(field, "holds the character U+0000: leave it out")


def dead_letter(record: ConsumedRecord, topic: str, wrong: Invalid) -> Message:
    """Return the dead letter of `record`, to be stored in the transaction that skips it."""
    letter = DeadLetter.of(record, STAGE, wrong.field, wrong.reason)
    tp = (record.topic, record.partition)
    return Message(tp, topic, letter.key, letter.value, letter.to_headers())
