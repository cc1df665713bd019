"""Reads tombstones with which scoring ends what it published of an erased customer."""

from datetime import datetime

from services.alerts.ports import ErasureSeen
from shared.contracts.headers import ERASURE_AT, ERASURE_REQUEST
from shared.kafka.batch import ConsumedRecord
from shared.kernel.errors import Invalid
from shared.kernel.text import kept
from shared.kernel.times import in_utc


def erasure_of(record: ConsumedRecord) -> ErasureSeen | None:
    """Return the erasure that a tombstone belongs to; None where it belongs to none."""
    headers = dict(record.headers)
    request, at = headers.get(ERASURE_REQUEST), headers.get(ERASURE_AT)
    if not record.key or not request or not at:
        return None
    try:
        when = in_utc("time", datetime.fromisoformat(at.decode()))
        customer, named = kept("key", record.key.decode()), kept("request", request.decode())
        return ErasureSeen((record.topic, record.partition), customer, named, when)
    except (Invalid, ValueError):
        return None  # another process may write there
