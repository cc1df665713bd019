"""Sends what a transaction left in the outbox, in order, under the owner of the partition.

The fast path sends the rows still in memory right after the commit and deletes them within
the next transaction. After a crash or a failed send the next owner (perhaps ourselves, after
a reclaim) sends what is left before it reads on. Nothing is sent out of order; something may
be sent twice.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.kafka.producer import Producer, Record
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.ledger import Claim
from shared.postgres.outbox import Message, Outbox, Pending

CLOSE_S = 1.0
"""How long the last deletion may take: a service ends within seconds, and a second message is
harmless."""

LATE_S = 1.0
"""A send that took so long may have stood still, and messages of a successor may be in the topic
already. With what a turn may last before it (8 s) it stays below a group's session (10 s)."""

Newer = Callable[[Sequence[Message]], Awaitable[list[Message]]]
"""Given messages that were just sent, perhaps late: those that have to follow them, because
something newer is stored of the same key."""


class Relay:
    """One per worker loop. `newer` is for topics in which the last message of a key stays."""

    def __init__(
        self,
        engine: AsyncEngine,
        outbox: Outbox,
        producer: Producer,
        newer: Newer | None = None,
    ) -> None:
        self._engine = engine
        self._outbox = outbox
        self._producer = producer
        self._newer = newer
        self._acknowledged: list[int] = []

    async def flush(self, pending: Sequence[Pending]) -> None:
        """Call after every commit whose transaction called `forget`: sends its new rows.

        Raises Transient when Kafka is not there; the rows stay, and `recover` sends them
        after the reclaim.
        """
        self._acknowledged = []  # deleted by the transaction that has just been committed
        if pending:
            await self._send([message for p in pending for message in p.messages])
            self._acknowledged = [p.id for p in pending]

    async def _send(self, messages: Sequence[Message]) -> None:
        """Send, and where that took long, send what is newer by now: until nothing is."""
        clock = asyncio.get_running_loop()
        late = False
        while messages:
            began = clock.time()
            await self._producer.send(map(_record, messages))
            late = late or clock.time() - began > LATE_S
            messages = await self._newer(messages) if late and self._newer is not None else ()

    async def forget(self, work: UnitOfWork) -> None:
        """Delete acknowledged rows within the caller's transaction, behind its fence.

        Whoever is frozen before the fence must hold no row: the next owner deletes these, too.
        They stay noted until its commit (`flush`): a row left behind by a failed transaction
        would be sent again after newer ones.
        """
        await self._outbox.delete(work, self._acknowledged)

    async def recover(self, claim: Claim) -> None:
        """Send what a former owner of the partition left, oldest first."""
        while True:
            async with unit_of_work(self._engine) as work:
                await self.forget(work)
                left = await self._outbox.pending(work, claim.tp)
            if not left:
                return
            await self.flush(left)

    async def close(self) -> None:
        """Delete what was acknowledged last, and let go of the producer.

        Where PostgreSQL is away the rows stay, and the next owner sends them once more.
        """
        if self._acknowledged:
            with contextlib.suppress(Transient, TimeoutError):
                async with asyncio.timeout(CLOSE_S), unit_of_work(self._engine) as work:
                    await self.forget(work)
        await self._producer.close()


def _record(message: Message) -> Record:
    return Record(message.topic, message.key, message.value, message.headers)
