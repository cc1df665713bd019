"""Gathers facts from the broker: what it is, its topics, how far they were read, its clock.

Everything here reads, but for `clock`, which makes a topic and deletes it again.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from deploy.doctor.kafka_judgement import FETCH, BrokerFacts, Reading, TopicFacts
from deploy.doctor.process_judgement import ClockFacts
from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kafka.settings import KafkaSettings
from shared.kafka.unpacking import install_safe_unpacking

REQUEST_MS: Final = 5_000
"""How long one request may take."""
COORDINATOR_S: Final = 5.0
"""How long a new broker may take to be ready for consumer groups."""
LOOK_S: Final = 0.2
OLDEST_MS: Final = 2_000
"""How long to wait for the first unread records of a topic's partitions."""
OLDEST_MAX: Final = 64
"""Partitions of a topic that are searched for their first unread record: most have fewer."""


@asynccontextmanager
async def admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Opens an admin client; raises KafkaError or OSError where no broker answers."""
    client = AIOKafkaAdminClient(**settings.client_kwargs("doctor"), request_timeout_ms=REQUEST_MS)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def broker(settings: KafkaSettings) -> BrokerFacts:
    """Asks who answers."""
    async with admin(settings) as client:
        cluster = await client.describe_cluster()
        inner: Any = client._client  # the versions that were agreed on are shown nowhere else
        connection = await inner._get_conn(inner.get_random_node())
        fetch = (getattr(connection, "_versions", None) or {}).get(FETCH)
    return BrokerFacts(settings.bootstrap_servers, len(cluster["brokers"]), fetch and fetch[1])


async def topics(
    settings: KafkaSettings, names: Iterable[str]
) -> tuple[dict[str, TopicFacts], int]:
    """Returns those of the topics that exist, and the number of brokers."""
    async with admin(settings) as client:
        brokers = len((await client.describe_cluster())["brokers"])
        wanted = set(names)
        described = [t for t in await client.describe_topics() if t["topic"] in wanted]
        resources = [ConfigResource(ConfigResourceType.TOPIC, t["topic"]) for t in described]
        answers = await client.describe_configs(resources) if resources else []
    configured: dict[str, dict[str, str]] = {}
    for answer in answers:
        for resource in answer.resources:
            configured[resource[3]] = {entry[0]: entry[1] for entry in resource[4]}
    found = {
        t["topic"]: TopicFacts(
            partitions=len(t["partitions"]),
            copies=min((len(p["replicas"]) for p in t["partitions"]), default=0),
            settings=configured.get(t["topic"], {}),
        )
        for t in described
    }
    return found, brokers


async def committed(settings: KafkaSettings, group: str) -> dict[tuple[str, int], int]:
    """Returns the offsets that a consumer group has committed at the broker."""
    async with admin(settings) as client:
        deadline = time.monotonic() + COORDINATOR_S
        while True:
            try:
                found = await client.list_consumer_group_offsets(group)
                break
            except GroupCoordinatorNotAvailableError:
                # A new broker makes the topic of the offsets when it is first asked for one.
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LOOK_S)
    return {(tp.topic, tp.partition): place.offset for tp, place in found.items()}


async def against_log(
    settings: KafkaSettings,
    readings: Sequence[Reading],
    known: Mapping[str, TopicFacts],
    now: datetime,
) -> list[Reading]:
    """Returns the readings with the log's begin and end, and the age of what waits.

    `known`: the topics that exist; `now`: UTC.
    """
    install_safe_unpacking()
    reader = AIOKafkaConsumer(
        **settings.client_kwargs("doctor"),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=REQUEST_MS,
        max_partition_fetch_bytes=2 * RAW_MESSAGE_BYTES_MAX,
    )
    await reader.start()
    try:
        placed = await _placed(reader, readings, known)
        found: list[Reading] = []
        ordered = sorted(placed, key=lambda one: (one.service, one.topic))
        for _, some in groupby(ordered, key=lambda one: (one.service, one.topic)):
            found += await _with_ages(reader, list(some), now)
        return found
    finally:
        await reader.stop()


async def _placed(
    reader: AIOKafkaConsumer, readings: Sequence[Reading], known: Mapping[str, TopicFacts]
) -> list[Reading]:
    keys = {
        TopicPartition(one.topic, one.partition)
        for one in readings
        if one.topic in known and one.partition < known[one.topic].partitions
    }
    begins = await reader.beginning_offsets(keys) if keys else {}
    ends = await reader.end_offsets(keys) if keys else {}
    return [
        replace(one, begin=begins.get(key, 0), end=ends.get(key, 0))
        for one in readings
        for key in [TopicPartition(one.topic, one.partition)]
    ]


async def _with_ages(
    reader: AIOKafkaConsumer, some: Sequence[Reading], now: datetime
) -> list[Reading]:
    """Reads the first unread record of each partition with any."""
    waiting = [one for one in some if one.behind and not one.compacted][:OLDEST_MAX]
    if not waiting:
        return list(some)
    keys = {TopicPartition(one.topic, one.partition): one for one in waiting}
    reader.assign(list(keys))
    for key, one in keys.items():
        reader.seek(key, max(one.next_offset or 0, one.begin))
    ages: dict[int, timedelta] = {}
    deadline = time.monotonic() + OLDEST_MS / 1_000
    while len(ages) < len(keys) and (left := deadline - time.monotonic()) > 0:
        for key, records in (await reader.getmany(timeout_ms=int(left * 1_000))).items():
            sent = datetime.fromtimestamp(records[0].timestamp / 1_000, UTC)
            ages.setdefault(key.partition, max(timedelta(), now - sent))
            reader.pause(key)
    return [replace(one, oldest=ages.get(one.partition)) for one in some]


async def clock(settings: KafkaSettings) -> ClockFacts:
    """Measures the broker's clock by a record of a topic of our own, which is deleted again."""
    name = f"ebbwatch.doctor-{secrets.token_hex(4)}"
    stamped = {"message.timestamp.type": "LogAppendTime"}
    async with admin(settings) as client:
        await client.create_topics([NewTopic(name, 1, 1, topic_configs=stamped)])
        producer = AIOKafkaProducer(
            **settings.client_kwargs("doctor"), request_timeout_ms=REQUEST_MS
        )
        try:
            await producer.start()
            await producer.send_and_wait(name, b"")  # connects, and finds the new topic
            before = time.time()
            sent = await producer.send_and_wait(name, b"")
            after = time.time()
        finally:
            await producer.stop()
            await client.delete_topics([name])
    ahead = sent.timestamp / 1_000 - (before + after) / 2
    return ClockFacts("the broker", ahead, (after - before) / 2)


def retention(found: Mapping[str, TopicFacts]) -> dict[str, timedelta | None]:
    """Returns how long the broker keeps the records of each topic; None: without an end."""
    return {name: _retention(topic.settings) for name, topic in found.items()}


def _retention(settings: Mapping[str, str]) -> timedelta | None:
    kept_ms = int(settings.get("retention.ms", "-1"))
    if kept_ms < 0 or "delete" not in settings.get("cleanup.policy", "delete"):
        return None
    return timedelta(milliseconds=kept_ms)


UNREACHABLE: Final = (KafkaError, OSError, TimeoutError)
"""What is raised where no broker answers."""
