"""Sends events of ids that are part of another customer on to that customer's partition.

They go through the outbox under their own (source, id), so that it does not matter when upstream
learns of a merge, and an event counts once however often it is sent on. It is the id that an event
came with that decides where it belongs, not the id that it was sent on to.
"""

from services.scoring.ports import EventRows, Store
from shared.contracts.activity import DECODER, ENCODER
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Message


async def route(
    work: UnitOfWork, store: Store, events: EventRows
) -> tuple[EventRows, list[Message]]:
    """Returns the events of this batch's own customers, and messages with all others."""
    if not len(events):
        return events, []
    came = list(zip(events.customer, events.original_customer, strict=True))
    forwarded = {original for customer, original in came if customer != original}
    redirects = await store.redirects(work, set(events.original_customer) - forwarded, forwarded)
    if not redirects and not forwarded:
        return events, []
    away = [
        at for at, (customer, original) in enumerate(came)
        if redirects.get(original, original) != customer
    ]  # fmt: skip
    if not away:
        return events, []
    left = set(away)
    kept = events.select([at for at in range(len(events)) if at not in left])
    return kept, [_forwarded(events, at, redirects.get(came[at][1], came[at][1])) for at in away]


def _forwarded(events: EventRows, at: int, to: str) -> Message:
    """Returns the record with which an event goes on to the customer `to`."""
    record = events.record[at]
    activity = DECODER.decode(record.value or b"")
    original = events.original_customer[at]
    activity.subject = to
    activity.originalsubject = None if to == original else original
    activity.contenthash = events.content_hash[at].hex()
    tp = (record.topic, record.partition)
    return Message(tp, record.topic, to.encode(), ENCODER.encode(activity), record.headers)
