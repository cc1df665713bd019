"""The training table from what scoring stored: the canonical events, decoded to columns."""

import math
from collections.abc import Iterable

import numpy as np

from services.scoring.core.events import EventColumns
from services.scoring.core.identity import stable_hash
from services.scoring.inbound.activity import kind_of
from services.scoring.training.table import EventBatch
from shared.contracts.activity import DECODER


def batch_of(payloads: Iterable[bytes]) -> EventBatch:
    """Columns of stored payloads; events that leave the state alone are left out."""
    decoded = [DECODER.decode(payload) for payload in payloads]
    events = [(event, kind) for event in decoded if (kind := kind_of(event))]
    n = len(events)
    none = math.nan
    columns = EventColumns(
        row=np.zeros(n, np.int64),
        kind=np.fromiter((kind for _, kind in events), np.uint8, n),
        time=np.fromiter((e.time.timestamp() for e, _ in events), np.float64, n),
        amount=np.fromiter(
            (none if e.data.amount is None else e.data.amount for e, _ in events), np.float64, n
        ),
        score=np.fromiter(
            (none if e.data.score is None else e.data.score for e, _ in events), np.float64, n
        ),
        key=np.fromiter((stable_hash(e.source, e.id) for e, _ in events), np.uint64, n),
        category=np.zeros(n, np.uint64),
    )
    return EventBatch(customers=[e.subject for e, _ in events], columns=columns)
