"""The producer that all services use: idempotent, acknowledged by all replicas, batched, bounded.

Each partition's records go out in batches that we fill ourselves: the client's way, record by
record, costs a future each and most of the time of a send. The client numbers such a batch for the
broker when it leaves, as it does its own, so that a repeated request is recognised.

aiokafka's idempotent producer can get stuck on a sequence error for good; a failure here closes it,
and the next send starts a new one. A send that failed has an unknown outcome, so every message may
arrive twice and is recognised by its id.
"""

import asyncio
import itertools
from asyncio import FIRST_EXCEPTION, Future
from collections import defaultdict, deque
from collections.abc import Collection, Iterable

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.contracts.dead_letter import Headers
from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kafka.partitions import partitions_of
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Transient

BATCH_BYTES_MAX = 512 * 1024
"""Bytes of one batch, before compression: 1,000 canonical events, and half of a broker's default
limit. A partition has one that is being filled, one that waits and one being sent: a call holds
at most three of them beside its records. A larger record makes a batch of its own."""

COMPRESSION = "zstd"
"""The client compresses LZ4 only at its slowest level (9): 450 canonical events took it 5 ms where
Zstandard takes 0.6 ms, with a result a quarter smaller."""

RECORD_BYTES_MAX = 2 * RAW_MESSAGE_BYTES_MAX + 64 * 1024
"""Bytes of the largest record with its headers: one oversized dead letter."""

SEND_TIMEOUT_S = 30.0
"""Time until every message of one call is acknowledged; a broker restart takes 5-10 s."""

CLOSE_TIMEOUT_S = 3.0
"""Time for closing a producer; below the time that a service may take to drain."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message to send. `partition` None: chosen by key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


Waiting = dict[TopicPartition, deque[Record]]


class Producer:
    """Sends batches of records and returns when all are acknowledged."""

    def __init__(self, settings: KafkaSettings, client: str) -> None:
        self._settings = settings
        self._client = client
        self._inner: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._calls = itertools.count()

    async def send(self, records: Iterable[Record]) -> None:
        """Send each partition's records in order; returns once all replicas have all of them.

        A key's partition is the one that every Kafka client chooses. Records with neither key nor
        partition stay together, and successive calls use the partitions in rotation.

        Raises Transient when the broker cannot be reached or does not accept a record: the outcome
        is then unknown.
        """
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                inner = await self._started()
                waiting = await self._by_partition(inner, records)
                sent: list[Future[object]] = []
                while waiting:
                    sent += [await _submit(inner, tp, queue) for tp, queue in waiting.items()]
                    waiting = {tp: queue for tp, queue in waiting.items() if queue}
                await _acknowledged(sent)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error

    async def _by_partition(self, inner: AIOKafkaProducer, records: Iterable[Record]) -> Waiting:
        by_topic: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            by_topic[record.topic].append(record)
        waiting: defaultdict[TopicPartition, deque[Record]] = defaultdict(deque)
        for topic, own in by_topic.items():
            known = sorted(await inner.partitions_for(topic))
            keyless = known[next(self._calls) % len(known)]
            keys = [r.key for r in own if r.partition is None and r.key is not None]
            keyed = iter(partitions_of(keys, len(known)))
            for record in own:
                if record.partition is not None:
                    place = record.partition
                elif record.key is not None:
                    place = known[next(keyed)]
                else:
                    place = keyless
                waiting[TopicPartition(topic, place)].append(record)
        return waiting

    async def partitions(self, topic: str) -> int:
        """Return how many partitions `topic` has; Transient when the broker cannot be reached."""
        try:
            inner = await self._started()
            return len(await inner.partitions_for(topic))
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close the connection; a later send starts anew."""
        inner, self._inner = self._inner, None
        if inner is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await inner.stop()
            except (KafkaError, OSError, TimeoutError):
                # What was not acknowledged has already been reported to its sender.
                return

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._inner is None:
                self._inner = await self._start()
            return self._inner

    async def _start(self) -> AIOKafkaProducer:
        inner = AIOKafkaProducer(
            **self._settings.client_kwargs(self._client),
            enable_idempotence=True,
            acks="all",
            max_batch_size=BATCH_BYTES_MAX,
            compression_type=COMPRESSION,
        )
        try:
            await inner.start()
        except BaseException:
            await inner.stop()
            raise
        return inner


async def _submit(
    inner: AIOKafkaProducer, tp: TopicPartition, queue: deque[Record]
) -> Future[object]:
    """Takes the next batch off a queue and submits it, once the one before it has been sent."""
    batch = inner.create_batch()
    _fill(batch, queue)
    # The client then neither adds to it nor waits for more.
    batch.close()
    future: Future[object] = await inner.send_batch(batch, tp.topic, partition=tp.partition)
    # The caller may raise an earlier failure instead: this one still counts as retrieved.
    future.add_done_callback(_retrieve_exception)
    return future


def _fill(batch: BatchBuilder, queue: deque[Record]) -> None:
    while queue:
        record = queue[0]
        # Some clients fail on a record with neither key nor value.
        key = b"" if record.key is None and record.value is None else record.key
        written = batch.append(
            timestamp=None, key=key, value=record.value, headers=list(record.headers)
        )
        if written is None:
            return
        if written.size > RECORD_BYTES_MAX:
            raise MessageSizeTooLargeError(
                f"a record to {record.topic} has {written.size:,} bytes; at most "
                f"{RECORD_BYTES_MAX:,} are sent"
            )
        queue.popleft()


async def _acknowledged(sent: Collection[Future[object]]) -> None:
    """Waits for all; raises the first failure. Not `gather`: it would cancel those being sent."""
    if sent:
        done, _ = await asyncio.wait(sent, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()


def _retrieve_exception(future: Future[object]) -> None:
    if not future.cancelled():
        future.exception()
