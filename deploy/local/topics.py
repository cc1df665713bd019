"""Creates the topics of the contracts, with their partition counts and settings.

Safe to repeat. It never changes or deletes an existing topic, but reports differences.
"""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from deploy.local.waiting import POLL_S
from shared.contracts.topics import ALL, Topic
from shared.kafka.settings import KafkaSettings

REPLICATION_MAX = 3
"""Copies of each partition where the cluster has so many brokers: one may fail while another
is in maintenance."""
VISIBLE_S_MAX = 30.0
"""Longest wait until the broker shows a topic that it has made, in seconds: usually 0.1."""


class TopicMismatch(RuntimeError):  # noqa: N818 (what it is)
    """A topic exists with another partition count; the message has the remedy."""


async def create(settings: KafkaSettings, topics: tuple[Topic, ...] = ALL) -> list[str]:
    """Creates missing topics; returns the names created, once every topic can be used.

    Raises `TopicMismatch` if a topic exists with another partition count, after the rest has been
    created.
    """
    admin = AIOKafkaAdminClient(**settings.client_kwargs("topics"))
    await admin.start()
    try:
        copies = min(REPLICATION_MAX, len((await admin.describe_cluster())["brokers"]))
        created = [topic.name for topic in topics if await _create(admin, topic, copies)]
        partitions = await _partitions(admin, {topic.name for topic in topics})
    finally:
        await admin.close()
    differing = [
        f"{topic.name} has {partitions[topic.name]} partitions instead of {topic.partitions}"
        for topic in topics
        if partitions[topic.name] != topic.partitions
    ]
    if differing:
        raise TopicMismatch(
            "; ".join(differing) + ". Keys map to partitions by their number, so this is not "
            "changed here: drain the services and recreate the topic, or remove the local "
            "stack's data with `make clean`"
        )
    return created


async def _create(admin: AIOKafkaAdminClient, topic: Topic, copies: int) -> bool:
    """Creates one topic; returns False if it exists."""
    new = NewTopic(topic.name, topic.partitions, copies, topic_configs=topic.settings)
    answer = await admin.create_topics([new])
    for name, code, *message in answer.topic_errors:
        if code == TopicAlreadyExistsError.errno:
            return False
        if code:
            raise for_code(code)(f"{name}: {message}")
    return True


async def _partitions(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, int]:
    """Returns partition counts by topic, once the broker shows all, which takes a moment."""
    async with asyncio.timeout(VISIBLE_S_MAX):
        while True:
            shown = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
            if names <= shown.keys() and all(shown[name] for name in names):
                return {name: len(shown[name]) for name in names}
            await asyncio.sleep(POLL_S)


if __name__ == "__main__":
    made = asyncio.run(create(KafkaSettings()))
    print("created:", ", ".join(made) if made else "nothing, every topic is there")
