"""Reads where the log of each partition begins and ends, and when its first waiting record came.

On a connection of its own, and as a member of no group: it depends on nothing that consumes.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared.kafka.lag import Bounds, Position
from shared.kafka.settings import KafkaSettings
from shared.kafka.unpacking import install_safe_unpacking
from shared.postgres.ledger import TopicPartition as Tp

HEADS_S_MAX: Final = 1.0
"""How long one search for first records may take, in seconds; what is missing is searched again."""

PAUSE_S: Final = 0.02
"""Seconds between two checks of what was found."""

PARTITIONS_S: Final = 10.0
"""Seconds until the partitions of the topics are read again: it is the broker's whole list."""

MS: Final = 1000


class LogEnds:
    """Use: `bounds` and `heads` in turn, `close` at the end or after any error.

    Every method raises KafkaError, OSError or TimeoutError.
    """

    def __init__(self, settings: KafkaSettings, client: str) -> None:
        self._settings = settings
        self._client = client
        self._reader: AIOKafkaConsumer | None = None
        self._keys: list[TopicPartition] = []
        self._asked: tuple[frozenset[str], float] = frozenset(), 0.0
        """Topics whose partitions were read last, and when."""

    async def bounds(self, topics: Collection[str]) -> dict[Tp, Bounds]:
        """Return begin and end of every partition; topics that do not exist are left out."""
        reader = await self._connected()
        keys = await self._partitions(reader, frozenset(topics))
        if not keys:
            return {}
        ends = await reader.end_offsets(keys)
        begins = await reader.beginning_offsets(keys)
        return {(k.topic, k.partition): Bounds(begins[k], ends[k]) for k in keys if k in ends}

    async def _partitions(
        self, reader: AIOKafkaConsumer, topics: frozenset[str]
    ) -> list[TopicPartition]:
        """Return the partitions of these topics, and assign them to the reader."""
        now, (asked, at) = asyncio.get_running_loop().time(), self._asked
        if topics != asked or now - at >= PARTITIONS_S:
            cluster = await reader._client.fetch_all_metadata()  # public only without partitions
            self._keys = [
                TopicPartition(topic, number)
                for topic in sorted(topics)
                for number in sorted(cluster.partitions_for_topic(topic) or ())
            ]
            self._asked = topics, now
            if self._keys and set(self._keys) != reader.assignment():
                reader.assign(self._keys)
                reader.pause(*self._keys)
        return self._keys

    async def heads(
        self, offsets: Mapping[Tp, int], bounds: Mapping[Tp, Bounds]
    ) -> dict[Tp, float | None]:
        """Return when the first readable record from each offset on came, Unix seconds.

        None where nothing is to be read before the end; partitions are left out that were not
        read in time.
        """
        reader = await self._connected()
        missing = {TopicPartition(*tp): offset for tp, offset in offsets.items()}
        reader.resume(*missing)
        for key, offset in missing.items():
            reader.seek(key, offset)
        found: dict[Tp, float | None] = {}
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEADS_S_MAX):
                    while missing:
                        for key in list(missing):
                            tp = key.topic, key.partition
                            # Never waits, so that the time-out cannot end it half-way.
                            records = await reader.getmany(key, timeout_ms=0, max_records=1)
                            if records:
                                found[tp] = records[key][0].timestamp / MS
                            elif await reader.position(key) >= bounds[tp].end:
                                found[tp] = None
                            else:
                                continue
                            del missing[key]
                        await asyncio.sleep(PAUSE_S)
        finally:
            reader.pause(*(TopicPartition(*tp) for tp in offsets))
        return found

    async def _connected(self) -> AIOKafkaConsumer:
        if self._reader is None:
            install_safe_unpacking()
            reader = AIOKafkaConsumer(
                **self._settings.client_kwargs(self._client),
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
            )
            self._reader = reader
            await reader.start()
        return self._reader

    async def close(self) -> None:
        """Close the connection."""
        reader, self._reader, self._asked = self._reader, None, (frozenset(), 0.0)
        if reader is not None:
            await reader.stop()


class GroupPositions:
    """Reads the offsets that a consumer group committed to Kafka, for topics without a ledger."""

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self._settings = settings
        self._group = f"ebbwatch-{group}"
        self._admin: AIOKafkaAdminClient | None = None
        self._coordinator: int | None = None

    async def __call__(self) -> dict[Tp, Position]:
        """Return the position of every partition with one; raises like `LogEnds`."""
        if self._admin is None:
            admin = AIOKafkaAdminClient(**self._settings.client_kwargs(f"{self._group}-positions"))
            self._admin = admin
            await admin.start()
        if self._coordinator is None:
            self._coordinator = await self._admin.find_coordinator(self._group)
        found = await self._admin.list_consumer_group_offsets(self._group, self._coordinator)
        return {
            (key.topic, key.partition): Position(position.offset)
            for key, position in found.items()
            if position.offset >= 0
        }

    async def close(self) -> None:
        """Close the connection."""
        admin, self._admin, self._coordinator = self._admin, None, None
        if admin is not None:
            await admin.close()
