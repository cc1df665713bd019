"""A third-party producer that writes in transactions and aborts some of them."""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaProducer

from shared.kafka.settings import KafkaSettings


async def transact(
    kafka: KafkaSettings, topic: str, values: Mapping[int, Sequence[bytes]], *, abort: bool
) -> None:
    """Write values to partitions in one transaction, and commit or abort it."""
    producer = AIOKafkaProducer(**kafka.client_kwargs("test"), transactional_id=f"test-{topic}")
    await producer.start()
    try:
        await producer.begin_transaction()
        for partition, found in values.items():
            for value in found:
                await (await producer.send(topic, value, b"k", partition=partition))
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    finally:
        await producer.stop()
