"""Sends what a transaction left in the outbox, in order, as the owner of the partition.

The fast path sends the rows still in memory right after the commit and deletes them within the next
transaction. After a crash or a failed send the next owner (perhaps ourselves, after a reclaim)
sends what is left before it reads on. Nothing is sent out of order; a message may be sent twice.

A process that paused while sending, or has not noticed that it lost its partition, may send
messages after a successor's newer ones. Therefore each send is followed by a check whether our rows
are still there.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kafka.producer import Producer, Record
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork, unit_of_work
from shared.postgres.ledger import Claim
from shared.postgres.outbox import Message, Outbox, Pending

CLOSE_S = 1.0
"""How long the last checks and the last deletion may take: a service ends within seconds, and a
second message is harmless."""

log = structlog.get_logger(__name__)

Newer = Callable[[Sequence[Message]], Awaitable[list[Message]]]
"""Takes messages that may have arrived behind a successor's; returns those to send after them,
because a newer value of the same key is stored."""


class Relay:
    """The relay of one worker loop. `newer`: for topics that keep the last message of a key."""

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
        self._doubtful: dict[tuple[str, bytes | None], Message] = {}

    @property
    def acknowledged(self) -> list[int]:
        """Ids of the rows that were sent, and are deleted with the next transaction."""
        return self._acknowledged

    async def flush(self, pending: Sequence[Pending]) -> None:
        """Send a committed transaction's new rows, and newer values where a successor was faster.

        Call it after every commit of a transaction that called `forget`. Raises Transient when
        Kafka is unreachable; the rows stay, and `recover` sends them after the reclaim.
        """
        self._acknowledged = []  # deleted by the transaction that has just been committed
        if not pending:
            return
        messages, ids = [m for p in pending for m in p.messages], [p.id for p in pending]
        if self._newer is None:
            await self._producer.send(map(_record, messages))
        else:
            doubted, self._doubtful = self._doubtful, self._doubtful | _by_key(messages)
            await self._producer.send(map(_record, messages))
            if not doubted and await self._unmoved(ids):
                self._doubtful = {}
            await self._send_newer()
        self._acknowledged = ids

    async def _unmoved(self, ids: Sequence[int]) -> bool:
        """Return whether these rows were acknowledged before a successor could send newer ones.

        A successor first sends and deletes what we left.
        """
        async with unit_of_work(self._engine) as work:
            return await self._outbox.holds(work, ids)

    async def _send_newer(self) -> None:
        """Send what is newer than messages that may have arrived late, until nothing is."""
        while self._doubtful and self._newer is not None:
            newer = await self._newer(list(self._doubtful.values()))
            await self._producer.send(map(_record, newer))
            self._doubtful = _by_key(newer)

    async def forget(self, work: UnitOfWork) -> None:
        """Delete acknowledged rows within the caller's transaction, behind its fence.

        A process that freezes before the fence must hold no row lock: the next owner deletes these
        rows too. They stay noted until its commit (`flush`): a row left behind by a failed
        transaction would be sent again after newer ones.
        """
        await self._outbox.delete(work, self._acknowledged)

    async def recover(self, claim: Claim) -> None:
        """Send what a former owner of the partition left, oldest first."""
        while True:
            async with unit_of_work(self._engine) as work:
                await self.forget(work)
                left = await self._outbox.pending(work, claim.tp)
            if not left:
                break
            await self.flush(left)
        await self._send_newer()

    async def close(self) -> None:
        """Delete what was acknowledged last, and close the producer.

        While PostgreSQL is unreachable the rows stay, and the next owner sends them once more.
        """
        with contextlib.suppress(Transient, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._send_newer()
                if self._acknowledged:
                    async with unit_of_work(self._engine) as work:
                        await self.forget(work)
        await self._producer.close()


def _by_key(messages: Sequence[Message]) -> dict[tuple[str, bytes | None], Message]:
    return {(message.topic, message.key): message for message in messages}


def _record(message: Message) -> Record:
    """Builds the record to send.

    A value larger than topics accept would block its partition for good, so it is cut; its reader
    refuses it with a reason.
    """
    value = message.value
    if value is not None and len(value) > RAW_MESSAGE_BYTES_MAX:
        log.error("message is cut", topic=message.topic, cause=message.tp, size=len(value))
        value = value[:RAW_MESSAGE_BYTES_MAX]
    return Record(message.topic, message.key, value, message.headers)
