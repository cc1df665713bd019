"""Decodes the canonical events that scoring stored into columns of the training table."""

from collections.abc import Iterable

from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.training.data.event_table import EventBatch
from shared.contracts.activity import DECODER


def batch_of(payloads: Iterable[bytes]) -> EventBatch:
    """Decode stored payloads to columns; events that do not change the state are left out."""
    decoded = [DECODER.decode(payload) for payload in payloads]
    read = [(event, kind) for event in decoded if (kind := kind_of(event))]
    events, kinds = [event for event, _ in read], [kind for _, kind in read]
    columns = columns_of(events, kinds, [0] * len(events), every_key=True)
    return EventBatch(customers=[event.subject for event in events], columns=columns)
