"""Reads raw topics as a plain member of a consumer group; Kafka's committed offsets count here.

The caller commits only what is acknowledged downstream, so records may be read again and are never
lost. This module works around traps of the client library: `getmany` is never cancelled, nothing
raises while it decodes, and we set the positions ourselves after any trouble.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.ingest.core.faults import fault
from services.ingest.ports import Unreadable
from shared.kafka.batch import ConsumedRecord
from shared.kafka.log_check import asked
from shared.kafka.membership import Assignments, member_kwargs
from shared.kafka.settings import KafkaSettings
from shared.kafka.unpacking import Unread, install_safe_unpacking
from shared.kernel.errors import Transient
from shared.observability.service_metrics import ServiceMetrics

IDLE_MS = 100
"""How long a poll waits for a first record, which ends the wait: bounds how late a stop starts."""

LOOK_S = 0.02
"""Seconds between two polls while no partition is assigned."""

CLOSE_S = 1.0
"""How long leaving the group may take; without a leave request the broker notices by timeout."""

LOOKUP_S = 5.0
"""How long the names of the broker's topics may take, in seconds."""

PROBE_S = 2.0
"""How long the broker may take to answer the readiness probe."""

UNREADABLE = (
    "not readable with our client library, here or before it in the same batch of its sender: it "
    "stays in its topic until retention takes it"
)
"""Reason for an unreadable record. The library decodes a sender's batch from its start, so what
follows in it is lost to us too. The usual cause is a header name that is not UTF-8."""


class RawConsumer:
    """Use: `start`, then `poll` and `commit`, `rewind` after trouble, `close`.

    One batch may be committed while the next is being read.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        group: str,
        batch_records_max: int,
        metrics: ServiceMetrics | None = None,
    ) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._group = group
        self._batch_records_max = batch_records_max
        self._metrics = metrics
        self._inner: AIOKafkaConsumer | None = None
        self._held = False
        self._spent = False
        """Reading failed; `start` replaces the member."""
        self._committed: dict[TopicPartition, int] = {}
        """The offsets that this member has committed."""

    @property
    def started(self) -> bool:
        """Whether this is a member of the group, or is joining it."""
        return self._inner is not None and not self._spent

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that are read, or will be from the next `start` on."""
        return tuple(self._topics)

    async def missing(self, topics: Collection[str]) -> set[str]:
        """Return which of these topics the broker does not have; raises Transient.

        To be asked before they are subscribed to: with one that does not exist the library never
        joins the group.
        """
        if not topics:
            return set()
        return set(topics) - await asked(asyncio.wait_for(self._known(), LOOKUP_S))

    async def _known(self) -> set[str]:
        """Return the broker's topics, over a connection of its own before the first `start`."""
        if self._inner is not None and self.started:
            found: set[str] = await self._inner.topics()
            return found
        passing = AIOKafkaConsumer(**self._settings.client_kwargs(self._group))
        try:
            await passing.start()
            found = await passing.topics()
        finally:
            await passing.stop()
        return found

    def subscribe(self, topics: Sequence[str]) -> None:
        """Read these topics from the next `start` on, which is then due; no batch may be open."""
        self._topics = list(topics)
        self._spent = True

    @property
    def assigned(self) -> set[tuple[str, int]]:
        """The partitions that are assigned to this member now."""
        found = self._inner.assignment() if self._inner and self.started else ()
        return {(tp.topic, tp.partition) for tp in found}

    async def start(self) -> None:
        """Join the group as a new member; raises Transient when the broker cannot be reached.

        Not while a commit is in progress: a commit on a closed member would be retried for ever.
        """
        await self.close()
        install_safe_unpacking()
        inner = AIOKafkaConsumer(
            **member_kwargs(self._settings, self._group), auto_offset_reset="earliest"
        )
        inner.subscribe(topics=self._topics, listener=Assignments(self._metrics))
        try:
            await asked(inner.start())
        except Transient:
            await inner.stop()
            raise
        self._inner = inner

    async def poll(self) -> list[ConsumedRecord]:
        """Return the next records, partition by partition, each in order; empty when none came.

        Every partition gets its share first, so that a full one does not starve the others. Raises
        Transient, after which only `start` helps: an error here can mean that the library's member
        of the group is stuck for good.
        """
        try:
            return await asked(self._polled())
        except Transient:
            self._spent = True
            raise

    async def commit(self, records: Iterable[ConsumedRecord]) -> None:
        """Commit these records; raises Transient after a rebalance or when the broker is
        unreachable."""
        inner = self._running()
        done = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in records}
        ours = inner.assignment()
        offsets = {tp: offset for tp, offset in done.items() if tp in ours}
        if not offsets:
            return  # all of their partitions were revoked: the new owners read them again
        await asked(inner.commit(offsets))
        self._committed |= offsets

    async def commit_read(self) -> None:
        """Commit the read position, once all that was read is done.

        Behind the last record there may be entries that no consumer receives (an aborted
        transaction, a marker); without this, the lag shown for the group would never become 0. Only
        that display depends on it, so errors are left to the next poll.
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

    def rewind(self, records: Sequence[ConsumedRecord]) -> None:
        """Read these records again, where their partitions are still assigned.

        Not `seek_to_committed`: where nothing was ever committed it keeps the position.
        """
        if self._inner is None:
            return
        ours = self._inner.assignment()
        first = {TopicPartition(r.topic, r.partition): r.offset for r in reversed(records)}
        for tp, offset in first.items():
            if tp in ours:
                self._inner.seek(tp, offset)

    async def hold(self) -> None:
        """Stay in the group and read nothing: all assigned partitions are paused until `release`.

        To be called repeatedly: a rebalance forgets pauses.
        """
        inner = self._running()
        self._held = True
        inner.pause(*inner.assignment())
        self.rewind(await self.poll())

    def release(self) -> None:
        """Resume reading after `hold`."""
        if self._held and self._inner is not None:
            self._held = False
            self._inner.resume(*self._inner.assignment())

    async def unreachable(self) -> str | None:
        """Return None when the broker answers, else the fault; for the readiness probe."""
        if self._inner is None or not self.started:
            return "not connected"
        try:
            async with asyncio.timeout(PROBE_S):
                await self._inner.topics()
        except (KafkaError, OSError, TimeoutError) as error:
            return f"the broker does not answer: {type(error).__name__}"
        return None

    async def close(self) -> None:
        """Leave the group; the next owner reads again what was not committed."""
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

    async def _polled(self) -> list[ConsumedRecord]:
        found: list[ConsumedRecord] = []
        await self._fill(found)
        if not found:
            found += await self._first()
            if found:
                await self._fill(found)
        return found

    async def _fill(self, found: list[ConsumedRecord]) -> None:
        """Add fetched records: of each partition its share, then what is left of it."""
        assigned = sorted(self._running().assignment())
        share = self._batch_records_max // max(1, len(assigned)) or 1
        for records_max in (share, self._batch_records_max):
            for tp in assigned:
                if (room := self._batch_records_max - len(found)) > 0:
                    found += await self._read(tp, min(records_max, room))
            if not found:
                return

    async def _first(self) -> list[ConsumedRecord]:
        """Wait for a record of any partition.

        Not while nothing is assigned: the library would wait for an assignment.
        """
        inner = self._running()
        if not inner.assignment():
            await asyncio.sleep(LOOK_S)
            return []
        fetched = await inner.getmany(timeout_ms=IDLE_MS, max_records=1)
        return [_readable(record) for records in fetched.values() for record in records]

    async def _read(self, tp: TopicPartition, records_max: int) -> list[ConsumedRecord]:
        """Return the fetched records of one partition."""
        fetched = await self._running().getmany(tp, timeout_ms=0, max_records=records_max)
        return [_readable(record) for record in fetched.get(tp, ())]


def _readable(record: ConsumedRecord | Unread) -> ConsumedRecord:
    if not isinstance(record, Unread):
        return record
    why = fault("headers", f"{UNREADABLE} ({record.reason})")
    return Unreadable(record.topic, record.partition, record.offset, record.timestamp, why)
