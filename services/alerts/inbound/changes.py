"""Decodes changes of customers' classification; an unreadable record becomes a dead letter."""

from typing import get_args

from services.alerts.inbound.dead_letters import dead_letter, nul_free
from services.alerts.inbound.erasures import erasure_of
from services.alerts.ports import ClassificationChanged, Decoded, ErasureSeen
from shared.contracts.changes import DECODER, CustomerChanged, IdentityKind
from shared.contracts.events import ID_LENGTH_MAX
from shared.contracts.reading import read, with_utc
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kernel.errors import Invalid
from shared.postgres.outbox import Message

INTEGER_MAX = 2**31 - 1
"""Largest value of PostgreSQL's type integer."""


class ChangesDecoder:
    """Decodes a batch of `ebbwatch.changes`."""

    def __init__(self, dead_letter_topic: str) -> None:
        self._dead_letter_topic = dead_letter_topic

    def __call__(self, batch: Batch) -> Decoded[ClassificationChanged]:
        """Return the changes in the log's order; tombstones end what was before them."""
        changed: list[ClassificationChanged] = []
        dead: list[Message] = []
        erased: list[ErasureSeen] = []
        for records in batch.records.values():
            for record in records:
                if record.value is None and (end := erasure_of(record)) is not None:
                    erased.append(end)
                    changed = [c for c in changed if c.change.customer_id != end.customer_id]
                    continue
                try:
                    tp = (record.topic, record.partition)
                    changed.append(ClassificationChanged(tp, _read(record)))
                except Invalid as wrong:
                    dead.append(dead_letter(record, self._dead_letter_topic, wrong))
        return Decoded(changed, dead, erased)


def _read(record: ConsumedRecord) -> CustomerChanged:
    change = with_utc(read(DECODER, record.value), "at")
    nul_free("value", record.value or b"")
    for field, text in (("customer_id", change.customer_id), ("segment", change.segment or "-")):
        if not 0 < len(text) <= ID_LENGTH_MAX:
            raise Invalid(field, f"must have 1 to {ID_LENGTH_MAX} characters")
    for field, number in (
        ("sequence", change.sequence),
        ("segment_version", change.segment_version or 0),
    ):
        if not 0 <= number <= INTEGER_MAX:
            raise Invalid(field, f"must be 0 to {INTEGER_MAX}")
    if change.kind in get_args(IdentityKind) and not (
        change.primary_id and len(change.primary_id) <= ID_LENGTH_MAX
    ):
        raise Invalid("primary_id", "missing or too long: which customer it is about")
    if change.kind == "segment_entered" and change.segment is None:
        raise Invalid("segment", "an entry needs the segment")
    return change
