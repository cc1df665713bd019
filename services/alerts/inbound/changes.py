"""Decodes changes of customers' classification; an unreadable record becomes a dead letter."""

from functools import partial
from typing import get_args

from services.alerts.inbound.dead_letters import nul_free
from services.alerts.inbound.decoding import TopicDecoder
from services.alerts.ports import ClassificationChanged
from shared.contracts.changes import DECODER, IdentityKind
from shared.contracts.events import ID_LENGTH_MAX
from shared.contracts.reading import read, with_utc
from shared.kafka.batch import ConsumedRecord
from shared.kernel.errors import Invalid

INTEGER_MAX = 2**31 - 1
"""Largest value of PostgreSQL's type integer."""


def _read(record: ConsumedRecord) -> ClassificationChanged:
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
    return ClassificationChanged((record.topic, record.partition), change)


ChangesDecoder = partial(TopicDecoder, read=_read)
"""`ChangesDecoder(dead_letter_topic)` decodes batches of `ebbwatch.changes`."""
