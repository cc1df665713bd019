"""Drops messages from before a customer's erasure that arrive after it, from another topic."""

from collections.abc import Callable
from typing import TypeVar

from services.alerts.ports import Decoded
from shared.postgres.engine import UnitOfWork
from shared.postgres.erasures import Erasures

Seen = TypeVar("Seen")


async def drop_erased(
    work: UnitOfWork,
    erasures: Erasures,
    topic: str,
    decoded: Decoded[Seen],
    customer_of: Callable[[Seen], str],
) -> list[Seen]:
    """Return what concerns customers whose older messages have all passed, or who were not erased.

    Topics are read independently: an assessment from before an erasure may be read after it. Until
    the tombstone of the erasure, all of the customer's messages in the topic are older.
    """
    for end in decoded.erased:
        await erasures.passed(work, topic, end.request_id, end.customer_id, end.at)
    awaited = await erasures.awaited(work, topic, {customer_of(each) for each in decoded.seen})
    return [each for each in decoded.seen if customer_of(each) not in awaited]
