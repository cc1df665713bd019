"""The training table from what scoring stored: the canonical events, decoded to columns."""

from collections.abc import Iterable

from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.training.data.event_table import EventBatch
from shared.contracts.activity import DECODER


def batch_of(payloads: Iterable[bytes]) -> EventBatch:
    """Columns of stored payloads; events that leave the state alone are left out."""
    decoded = [DECODER.decode(payload) for payload in payloads]
    read = [(event, kind) for event in decoded if (kind := kind_of(event))]
    events, kinds = [event for event, _ in read], [kind for _, kind in read]
    columns = columns_of(events, kinds, [0] * len(events), every_key=True)
    return EventBatch(customers=[event.subject for event in events], columns=columns)
