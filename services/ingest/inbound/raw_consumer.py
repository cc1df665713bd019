"""Reads raw topics as a plain member of a consumer group; Kafka's committed offsets count here.

Whoever uses it commits only what is acknowledged downstream, so that records are read again and
never lost. Knows the traps of the client library: `getmany` is never cancelled, nothing raises
while it decodes, positions are set by ourselves after any trouble.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.ingest.core.faults import fault
from services.ingest.ports import Unreadable
from shared.kafka.batch import ConsumedRecord
from shared.kafka.membership import member_kwargs
from shared.kafka.settings import KafkaSettings
from shared.kafka.unpacking import Unread, careful
from shared.kernel.errors import Transient

IDLE_MS = 100
"""How long a poll waits for a first record, which ends the wait: bounds how late a stop starts."""

LOOK_S = 0.02
"""Between two looks at what was fetched, where waiting for any partition is of no use."""

CLOSE_S = 1.0
"""How long leaving the group may take; without a good-bye the broker finds out by itself."""

PROBE_S = 2.0
"""How long the broker may take to answer the readiness probe."""

UNREADABLE = (
    "not readable with our client library, here or before it in the same batch of its sender: it "
    "stays in its topic until retention takes it"
)
"""The library decodes a sender's batch from its start, so what follows in it is lost to us too. The
usual cause is the name of a header that is not UTF-8."""

AnyRecord = ConsumedRecord | Unreadable


class RawConsumer:
    """Use: `start`, then `poll` and `commit`, `rewind` after trouble, `close`.

    What was read may be committed while the next is being read.
    """

    def __init__(
        self, settings: KafkaSettings, topics: Sequence[str], group: str, batch_records_max: int
    ) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._group = group
        self._batch_records_max = batch_records_max
        self._inner: AIOKafkaConsumer | None = None
        self._held = False
        self._spent = False
        """It had trouble reading; `start` replaces it."""
        self._committed: dict[TopicPartition, int] = {}
        """What this member has committed."""

    @property
    def started(self) -> bool:
        """Whether it is a member, or on its way to be."""
        return self._inner is not None and not self._spent

    @property
    def assigned(self) -> set[tuple[str, int]]:
        """The partitions that are ours now."""
        found = self._inner.assignment() if self._inner and self.started else ()
        return {(tp.topic, tp.partition) for tp in found}

    async def start(self) -> None:
        """Join the group, as a new member; Transient when the broker cannot be reached. Not while
        a commit is under way: one on a closed member would be tried for ever."""
        await self.close()
        careful()
        inner = AIOKafkaConsumer(
            *self._topics,
            **member_kwargs(self._settings, self._group),
            auto_offset_reset="earliest",
        )
        try:
            await inner.start()
        except (KafkaError, OSError) as error:
            await inner.stop()
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error
        self._inner = inner

    async def poll(self) -> list[AnyRecord]:
        """The next records, partition by partition, each in its order; empty when none came.

        Every partition gets its share first, so that a full one does not starve the others.
        Raises Transient, and only `start` helps: an error here can mean that the library's
        member of the group is wedged for good.
        """
        found: list[AnyRecord] = []
        try:
            await self._fill(found)
            if not found:
                found += await self._first()
                if found:
                    await self._fill(found)
        except (KafkaError, OSError) as error:
            self._spent = True
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error
        return found

    async def commit(self, records: Iterable[AnyRecord]) -> None:
        """These are done. Transient when the group has moved on or the broker is not there."""
        inner = self._running()
        done = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        ours = inner.assignment()
        offsets = {tp: offset for tp, offset in done.items() if tp in ours}
        if not offsets:
            return  # all of them have been taken from us: their new owners read them again
        try:
            await inner.commit(offsets)
        except (KafkaError, OSError) as error:
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error
        self._committed |= offsets

    async def commit_read(self) -> None:
        """Commit how far was read, once all that was read is done: behind the last record may be
        what is handed to nobody (an aborted transaction, a marker), and whoever compares the
        group's offset with the log's end would see records wait for good.

        Only a display depends on it, so trouble is left to the next poll.
        """
        inner = self._running()
        if not self.started:
            return
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(PROBE_S):
                read = {tp: await inner.position(tp) for tp in inner.assignment()}
                news = {tp: at for tp, at in read.items() if self._committed.get(tp) != at}
                if news:
                    await inner.commit(news)
                    self._committed |= news

    def rewind(self, records: Sequence[AnyRecord]) -> None:
        """These are not done: read them again, where their partitions are still ours.

        Not `seek_to_committed`: where nothing was ever committed it stays where it is.
        """
        if self._inner is None:
            return
        ours = self._inner.assignment()
        first = {TopicPartition(r.topic, r.partition): r.offset for r in reversed(records)}
        for tp, offset in first.items():
            if tp in ours:
                self._inner.seek(tp, offset)

    async def hold(self) -> None:
        """Stay in the group and read nothing: everything assigned is paused until `release`.

        Called again and again: a rebalance forgets pauses.
        """
        inner = self._running()
        self._held = True
        inner.pause(*inner.assignment())
        self.rewind(await self.poll())

    def release(self) -> None:
        """Read on after `hold`."""
        if self._held and self._inner is not None:
            self._held = False
            self._inner.resume(*self._inner.assignment())

    async def lag(self) -> dict[tuple[str, int], int]:
        """Records between our position and the log's end; empty when that cannot be told now."""
        if self._inner is None or not self.started:
            return {}
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(PROBE_S):
                ours = list(self._inner.assignment())
                ends = await self._inner.end_offsets(ours) if ours else {}
                return {
                    (tp.topic, tp.partition): max(0, end - await self._inner.position(tp))
                    for tp, end in ends.items()
                }
        return {}

    async def unreachable(self) -> str | None:
        """None when the broker answers, else what is wrong; for the readiness probe."""
        if self._inner is None or not self.started:
            return "not connected"
        try:
            async with asyncio.timeout(PROBE_S):
                await self._inner.topics()
        except (KafkaError, OSError, TimeoutError) as error:
            return f"the broker does not answer: {type(error).__name__}"
        return None

    async def close(self) -> None:
        """Leave the group; what was not committed is read again by whoever comes next."""
        inner, self._inner = self._inner, None
        self._spent = False
        self._committed.clear()
        if inner is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await inner.stop()

    def _running(self) -> AIOKafkaConsumer:
        if self._inner is None:
            raise AssertionError("used before start")
        return self._inner

    async def _fill(self, found: list[AnyRecord]) -> None:
        """Add what has been fetched: of each partition its share, then what is left of it."""
        assigned = sorted(self._running().assignment())
        share = self._batch_records_max // max(1, len(assigned)) or 1
        for records_max in (share, self._batch_records_max):
            for tp in assigned:
                if (room := self._batch_records_max - len(found)) > 0:
                    found += await self._read(tp, min(records_max, room))
            if not found:
                return

    async def _first(self) -> list[AnyRecord]:
        """Wait for a record of any partition. Not while nothing is assigned: the library would
        wait for that."""
        inner = self._running()
        if not inner.assignment():
            await asyncio.sleep(LOOK_S)
            return []
        fetched = await inner.getmany(timeout_ms=IDLE_MS, max_records=1)
        return [_readable(record) for records in fetched.values() for record in records]

    async def _read(self, tp: TopicPartition, records_max: int) -> list[AnyRecord]:
        """What has been fetched of one partition."""
        fetched = await self._running().getmany(tp, timeout_ms=0, max_records=records_max)
        return [_readable(record) for record in fetched.get(tp, ())]


def _readable(record: ConsumedRecord | Unread) -> AnyRecord:
    if not isinstance(record, Unread):
        return record
    why = fault("headers", f"{UNREADABLE} ({record.reason})")
    return Unreadable(record.topic, record.partition, record.offset, record.timestamp, why)
