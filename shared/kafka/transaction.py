"""The transaction of a consumed batch: offsets, effects and messages, and the sending after it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.ledger import Ledger, Move
from shared.postgres.outbox import Message, Outbox, Pending

STAGES: Final = ("fence", "handle", "commit", "send")
"""The stages of a batch that is handled in one transaction, in order."""


class OutboxRelay(Protocol):
    """Sends what a transaction left in the outbox, after its commit (`relay`)."""

    async def forget(self, work: UnitOfWork) -> None: ...
    async def flush(self, pending: Sequence[Pending]) -> None: ...


@dataclass(slots=True)
class BatchTransaction:
    """The transaction of one batch, with the messages that it causes."""

    work: UnitOfWork
    relay: OutboxRelay
    messages: list[Message] = field(default_factory=list)
    """What to send, in order; complete before the commit."""
    pending: Sequence[Pending] = ()
    done: Callable[[str], None] = lambda _: None
    """Called after each stage of the batch (`STAGES`)."""

    async def send(self) -> None:
        """Send the messages; call it after every commit. Raises Transient without Kafka."""
        await self.relay.flush(self.pending)
        self.done("send")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTransactions:
    """Opens the transactions of one consumer loop."""

    engine: AsyncEngine
    ledger: Ledger
    outbox: Outbox
    relay: OutboxRelay
    timed: Callable[[], Callable[[str], None]] | None = None
    """Begins to time the stages of a batch (`ServiceMetrics.timed`)."""

    @asynccontextmanager
    async def open(self, moves: Sequence[Move]) -> AsyncIterator[BatchTransaction]:
        """Open a transaction behind the fence: `moves` are committed with what it writes.

        Raises Fenced where another worker owns a partition, and Transient.
        """
        done = (lambda _: None) if self.timed is None else self.timed()
        async with unit_of_work(self.engine) as work:
            await self.ledger.advance(work, moves)
            await self.relay.forget(work)
            done("fence")
            batch = BatchTransaction(work, self.relay, done=done)
            yield batch
            done("handle")
            batch.pending = await self.outbox.add(work, batch.messages)
        done("commit")
