"""Checks whether a partition's log is still the one that was read: bounds and last record.

It changes nothing and decides nothing: a log that does not fit is described in words.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.kafka.batch import fingerprint
from shared.kafka.membership import FETCH_BYTES_MAX
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Transient
from shared.postgres.ledger import Claim, Fingerprint

T = TypeVar("T")

READ_BACK_S = 10.0
"""How long reading a fingerprint's record may take."""


async def misfit(
    settings: KafkaSettings, consumer: AIOKafkaConsumer, claim: Claim, *, compacted: bool
) -> str | None:
    """Returns why the log is not the one that `claim` was read from; None when it is.

    In a compacted topic a record that was read may be gone legitimately: the log's begin is not
    compared, and the last record only where it is still there. Raises KafkaError, OSError or
    TimeoutError when the broker does not answer.
    """
    if claim.next_offset is None:
        return None
    key = TopicPartition(claim.topic, claim.partition)
    first = (await consumer.beginning_offsets([key]))[key]
    end = (await consumer.end_offsets([key]))[key]
    if claim.next_offset > end:
        return f"the log ends at {end}, before our offset {claim.next_offset}: data was lost"
    if claim.next_offset < first and not compacted:
        return f"the log begins at {first}, after our offset {claim.next_offset}"
    if claim.fingerprint is None or claim.next_offset <= first:
        return None
    try:
        found = await _read_back(settings, key, claim.next_offset - 1)
    except TimeoutError:
        if not compacted:
            raise
        return None  # nothing is left from there on
    if found != claim.fingerprint and not (compacted and found is None):
        return f"record {claim.next_offset - 1} is not the one we consumed: another log"
    return None


async def _read_back(
    settings: KafkaSettings, key: TopicPartition, offset: int
) -> Fingerprint | None:
    reader = AIOKafkaConsumer(
        **settings.client_kwargs("fingerprint"),
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
    await reader.start()
    try:
        reader.assign([key])
        reader.seek(key, offset)
        async with asyncio.timeout(READ_BACK_S):
            record = await reader.getone(key)
        return fingerprint(record) if record.offset == offset else None
    finally:
        await reader.stop()


async def asked(answer: Awaitable[T]) -> T:
    """Returns the broker's answer; Transient when it gives none."""
    try:
        return await answer
    except (KafkaError, OSError, TimeoutError) as error:
        raise Transient(f"Kafka: {type(error).__name__}: {error}") from error
