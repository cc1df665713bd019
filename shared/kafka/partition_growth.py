"""Handles topics that have more partitions than before, or fewer.

Keys move to other partitions when some are added. A new partition therefore waits until the old
ones are read to where they ended when it was first seen: what was written before it comes first.
Producers learn of the new count within their metadata's age and may write to the old partition for
so long; a service that must not suffer from that handles it itself (scoring: a customer has one
home).
"""

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.postgres.ledger import Ledger
from shared.postgres.ledger import TopicPartition as Tp

log = structlog.get_logger(__name__)


async def admit(ledger: Ledger, consumer: AIOKafkaConsumer, tp: Tp) -> str | None:
    """Notes `tp`'s topic before a claim of `tp`; returns why it must not be read, if so.

    Raises KafkaError or OSError when the broker does not answer.
    """
    topic, partition = tp
    known = await ledger.known(topic)
    count = len(consumer.partitions_for_topic(topic) or ())
    if known and max(known) >= count:
        return (
            f"the topic has {count} partitions and had {max(known) + 1}: it was recreated; "
            "`partitions forget` those that are gone"
        )
    if partition not in known:
        old = [TopicPartition(topic, number) for number in sorted(known)]
        first = await consumer.beginning_offsets(old) if old else {}
        ends = await consumer.end_offsets(old) if old else {}
        # An empty partition will never be read from: there is nothing to wait for.
        filled = {key.partition: end for key, end in ends.items() if end > first[key]}
        await ledger.grow(topic, count, filled)
        if known:
            log.warning("partitions were added", topic=topic, before=len(known), now=count)
    return None
