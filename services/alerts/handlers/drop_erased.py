"""Drops messages from before a customer's erasure that arrive after it, from another topic."""

from services.alerts.ports import Decoded, Seen
from services.alerts.store.of_every_service import ERASURES
from shared.postgres.engine import UnitOfWork


async def drop_erased(work: UnitOfWork, topic: str, decoded: Decoded[Seen]) -> list[Seen]:
    """Return what is about customers without older messages to come, or who were not erased.

    Topics are read independently: an assessment from before an erasure may be read after it. Until
    the tombstone of the erasure, all of the customer's messages in the topic are older.
    """
    for end in decoded.erased:
        await ERASURES.passed(work, topic, end.request_id, end.customer_id, end.at)
    awaited = await ERASURES.awaited(work, topic, {each.customer_id for each in decoded.seen})
    return [each for each in decoded.seen if each.customer_id not in awaited]
