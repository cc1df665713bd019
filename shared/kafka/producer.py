"""The one producer shape: idempotent, all replicas acknowledged, batched, bounded.

aiokafka's idempotent producer can get stuck on a sequence error for good; a failure here
closes it, and the next send starts a new one. A send that failed has an unknown outcome, so
every message we send may arrive twice and is known by its id.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.contracts.dead_letter import Headers
from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Transient

LINGER_MS = 5
"""How long the producer waits to fill a batch: well below the latency that we promise."""

BATCH_BYTES_MAX = 256 * 1024
"""Bytes a partition's batch collects: 500 canonical events."""

REQUEST_BYTES_MAX = 2 * RAW_MESSAGE_BYTES_MAX + 64 * 1024
"""Largest request: one oversized dead letter with its headers."""

SEND_TIMEOUT_S = 30.0
"""Until every message of one call is acknowledged; a broker restart takes 5-10 s."""


@dataclass(frozen=True, slots=True)
class Record:
    """A message to send. `partition` None: chosen by key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


CLOSE_TIMEOUT_S = 3.0
"""Until a producer has let go; below the time that a service may take to drain."""


class Producer:
    """Sends batches of records and returns when all are acknowledged."""

    def __init__(self, settings: KafkaSettings, client: str) -> None:
        self._settings = settings
        self._client = client
        self._inner: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, records: Iterable[Record]) -> None:
        """Send in order; returns once every record is acknowledged by all replicas.

        Raises Transient when the broker cannot be reached: the outcome is then unknown.
        """
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                inner = await self._started()
                sent = [
                    await inner.send(
                        r.topic,
                        value=r.value,
                        # The client refuses a record with neither key nor value.
                        key=b"" if r.key is None and r.value is None else r.key,
                        partition=r.partition,
                        headers=list(r.headers),
                    )
                    for r in records
                ]
                if sent:
                    await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error

    async def partitions(self, topic: str) -> int:
        """How many partitions `topic` has; Transient when the broker cannot be reached."""
        try:
            inner = await self._started()
            return len(await inner.partitions_for(topic))
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Let go of the connection; a later send starts anew."""
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
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=REQUEST_BYTES_MAX,
            compression_type="lz4",
        )
        try:
            await inner.start()
        except BaseException:
            await inner.stop()
            raise
        return inner
