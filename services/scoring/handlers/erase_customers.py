"""Erases customers on request: a batch without events deletes what scoring stores of them.

It runs in the order of the log: what a customer did before the request is deleted, what follows
belongs to a new customer. A tombstone in each published topic means to readers that nothing
older follows, and lets the broker delete what was published.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from services.scoring import metrics
from services.scoring.ports import EventRows
from services.scoring.store.erasure import CustomerErasure
from shared.contracts.activity import ENCODER, Activity
from shared.contracts.headers import ERASURE_AT, ERASURE_REQUEST
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.quarantine import Handle
from shared.kafka.transaction import BatchTransactions
from shared.postgres.engine import UnitOfWork
from shared.postgres.erasures import Erasures
from shared.postgres.ledger import Move, TopicPartition
from shared.postgres.outbox import Message
from shared.runtime.clock import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseCustomers:
    """Erases the customers with a request that is the next record of a partition."""

    transactions: BatchTransactions
    store: CustomerErasure
    read: Callable[[ConsumedRecord], Activity | None]
    topics: Sequence[str]
    """Published topics, keyed by customer."""
    clock: Clock
    forget: Callable[[], None]
    """Clears what the lane keeps in memory."""
    handle: Handle
    """Processes every batch that does not begin with a request."""

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Process the requests that partitions begin with, else the whole batch."""
        found = {tp: self.read(records[0]) for tp, records in batch.records.items() if records}
        requested = {tp: request for tp, request in found.items() if request is not None}
        return await (self._erase(batch, requested) if requested else self.handle(batch))

    async def _erase(
        self, batch: Batch, requested: dict[TopicPartition, Activity]
    ) -> Sequence[Move]:
        """Erase; return the offsets committed with it. A request that is repeated does nothing."""
        moves = [batch.move(tp, 1, dict(batch.claims[tp].progress)) for tp in requested]
        async with self.transactions.open(moves) as transaction:
            work = transaction.work
            for tp, request in requested.items():
                customer, now = request.subject, self.clock.now()
                if not await self.store.erasures.begin(
                    work, request.id, customer, request.time, now
                ):
                    continue
                others = await self.store.ids(work, customer)
                rows = Counter(await self.store.delete(work, customer))
                for other in others:
                    rows.update(await self.store.delete(work, other))
                rows["identity_link"] += await self.store.delete_links(work, [customer, *others])
                # The other ids are erased in every service, each in the order of its partition.
                transaction.messages += _requests(tp, request, others)
                await self.store.erasures.add_rows(work, request.id, rows)
                transaction.messages += [_tombstone(tp, topic, request) for topic in self.topics]
                log.info("customer erased", request=request.id, rows=sum(rows.values()))
        self.forget()
        metrics.ERASURES.inc(len(requested))
        await transaction.send()
        async with self.transactions.open(()):
            pass  # the tombstones, which name the customer, leave the outbox now
        return moves


@dataclass(frozen=True, slots=True)
class DropErased:
    """Drops events from before their customer's erasure.

    They arrive late, or again: in a replay, a repeated import, a copy."""

    erasures: Erasures

    async def __call__(self, work: UnitOfWork, events: EventRows) -> EventRows:
        """Return the other events."""
        pairs = zip(events.customer, events.time, strict=True)
        erased = await self.erasures.of_older(work, pairs)
        if not erased:
            return events
        kept = [
            row
            for row, (customer, at) in enumerate(zip(events.customer, events.time, strict=True))
            if customer not in erased or at >= erased[customer]
        ]
        metrics.ERASED_EVENTS.inc(len(events) - len(kept))
        return events.select(kept)


def _requests(tp: TopicPartition, request: Activity, others: Sequence[str]) -> list[Message]:
    """Returns requests to erase the other ids of a customer."""
    return [
        Message(
            tp,
            tp[0],
            other.encode(),
            ENCODER.encode(replace(request, subject=other, id=f"{request.id}/{number}")),
        )
        for number, other in enumerate(others, 1)
    ]


def _tombstone(tp: TopicPartition, topic: str, request: Activity) -> Message:
    headers = (
        (ERASURE_REQUEST, request.id.encode()),
        (ERASURE_AT, request.time.isoformat().encode()),
    )
    return Message(tp, topic, request.subject.encode(), None, headers)
