"""The transaction of a consumed batch: offsets, effects and messages, and the sending after it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.postgres.outbox import Message, Outbox, Pending


class Sender(Protocol):
    """Sends what a transaction left in the outbox, after its commit (`relay`)."""

    async def forget(self, work: UnitOfWork) -> None: ...
    async def flush(self, pending: Sequence[Pending]) -> None: ...


@dataclass(slots=True)
class BatchTransaction:
    """The transaction of one batch, with the messages that it causes."""

    work: UnitOfWork
    relay: Sender
    messages: list[Message] = field(default_factory=list)
    """What to send, in order; complete before the commit."""
    pending: Sequence[Pending] = ()

    async def send(self) -> None:
        """Send the messages; call it after every commit. Raises Transient without Kafka."""
        await self.relay.flush(self.pending)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTransactions:
    """Opens the transactions of one consumer loop."""

    engine: AsyncEngine
    ledger: Ledger
    outbox: Outbox
    relay: Sender

    @asynccontextmanager
    async def open(self, moves: Sequence[Move]) -> AsyncIterator[BatchTransaction]:
        """Open a transaction behind the fence: `moves` are committed with what it writes.

        Raises Fenced where another worker owns a partition, and Transient.
        """
        async with unit_of_work(self.engine) as work:
            await self.ledger.advance(work, moves)
            await self.relay.forget(work)
            batch = BatchTransaction(work, self.relay)
            yield batch
            batch.pending = await self.outbox.add(work, batch.messages)
