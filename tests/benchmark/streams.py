"""Sections `ceiling` and `ingest`: the raw client, and ingest's loop compared with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import lightgbm
import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.stack import LocalStack
from services.ingest.core.flood import SHARE_MAX
from services.ingest.core.rates import RateTable
from services.ingest.handlers.accept_batch import AcceptBatch, DecidedBatch
from services.ingest.handlers.watch_flood import FloodWatch
from services.ingest.inbound.raw_consumer import RawConsumer
from services.ingest.inbound.raw_topics import RawTopics
from services.ingest.ports import Topics
from services.scoring.core.features.registry import FEATURES
from shared.contracts.events import PURCHASE
from shared.kafka.producer import BATCH_BYTES_MAX, COMPRESSION, Producer
from shared.kafka.settings import KafkaSettings
from shared.runtime.clock import SystemClock
from shared.runtime.gc_tuning import spare_collector
from shared.runtime.health import Health
from shared.runtime.service import Stop
from tests.benchmark import common
from tests.benchmark.common import BATCH, BEGIN, Figures, Meter
from tests.unit.ingest.fakes import FakeStops

EVENTS = 100_000
PREDICTED = 50_000
LINGER_MS = 5
"""How long the client waits to fill a batch of records sent one by one."""
Handle = Callable[[Sequence[Any]], Awaitable[object]]


async def ceiling(stack: LocalStack) -> Figures:
    """Measures the limits of the client and of LightGBM; `scoring` reports PostgreSQL's."""
    count = common.scaled(EVENTS)
    kafka = stack.kafka.settings
    raw, *_ = await common.make_topics(kafka, "ceiling")
    await _fill(kafka, raw.name, count)
    return {"consume_per_s": await _consume(kafka, raw.name, count), "predict_per_s": _predict()}


async def ingest(stack: LocalStack) -> Figures:
    """Compares ingest's loop with the same loop that forwards the records unchanged.

    The latter uses the better of the client's two ways to produce; both compress and read ahead
    alike.
    """
    count = common.scaled(EVENTS)
    kafka = stack.kafka.settings
    raw, activity, _, dead = await common.make_topics(kafka, "ingest")
    await _fill(kafka, raw.name, count)
    producer = Producer(kafka, "bench")
    spare_collector()  # as a service does
    accept = AcceptBatch(producer, Topics(activity.name, dead.name), RateTable("USD"))
    meter = await _through(kafka, raw.name, "ours", count, accept)
    await producer.close()
    by_way = {}
    for way in (_by_send, _by_batch):
        client = AIOKafkaProducer(
            **kafka.client_kwargs("bench-raw"),
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES_MAX,
            compression_type=COMPRESSION,
        )
        await client.start()
        partitions = sorted(await client.partitions_for(activity.name))
        untouched = Untouched(partial(way, client, activity.name, partitions))
        found = await _through(kafka, raw.name, way.__name__, count, untouched)
        by_way[way.__name__.removeprefix("_by_")] = count / found.seconds
        await client.stop()
    figures = meter.figures("events", count)
    best = max(by_way.values())
    return {**figures, "ratio": figures["events_per_s"] / best, "raw_per_s": by_way}


async def _by_send(client: AIOKafkaProducer, topic: str, _: Any, records: Sequence[Any]) -> None:
    await asyncio.gather(*[await client.send(topic, value=r.value, key=r.key) for r in records])


async def _by_batch(
    client: AIOKafkaProducer, topic: str, partitions: Sequence[int], records: Sequence[Any]
) -> None:
    """Sends each partition's records in as few batches as possible.

    The partition they came from names the one they go to, which saves the ceiling the hash.
    """
    sent = []
    by_partition: dict[int, list[Any]] = {}
    for record in records:
        by_partition.setdefault(record.partition % len(partitions), []).append(record)
    for partition, own in by_partition.items():
        batch = client.create_batch()
        for record in own:
            if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                batch.close()
                sent.append(await client.send_batch(batch, topic, partition=partition))
                batch = client.create_batch()
                batch.append(key=record.key, value=record.value, timestamp=None)
        batch.close()  # otherwise the client waits for more
        sent.append(await client.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)


class Untouched(AcceptBatch):
    """Forwards the records unchanged."""

    def __init__(self, send: Handle) -> None:
        self._send = send

    async def decide(self, records: Sequence[Any], _: int) -> DecidedBatch:
        return DecidedBatch(outgoing=list(records))

    async def deliver(self, done: DecidedBatch) -> None:
        await self._send(done.outgoing)


class Metered(RawConsumer):
    """Measures from the first records that are read until `count` are committed."""

    def __init__(self, kafka: KafkaSettings, topic: str, group: str, count: int) -> None:
        super().__init__(kafka, (topic,), f"bench-{group}", BATCH)
        self.meter, self.stop = Meter(), Stop()
        self._begun, self._left = False, count

    async def poll(self) -> list[Any]:
        found = await super().poll()
        if found and not self._begun:
            self._begun = True
            self.meter.start()
        return found

    async def commit(self, records: Iterable[Any]) -> None:
        await super().commit(records)
        self._left -= len(list(records))
        if self._left <= 0:
            self.meter.stop()
            self.stop.set()


async def _through(
    kafka: KafkaSettings, topic: str, group: str, count: int, accept: AcceptBatch
) -> Meter:
    """Runs ingest's loop with this use case."""
    consumer, clock = Metered(kafka, topic, group, count), SystemClock()
    flood = FloodWatch(FakeStops(), SHARE_MAX, clock)
    await RawTopics(consumer, accept, flood, Health(clock), clock).consume(consumer.stop)
    return consumer.meter


async def _consume(kafka: KafkaSettings, topic: str, count: int) -> float:
    consumer = AIOKafkaConsumer(
        topic, **kafka.client_kwargs("bench-only"), auto_offset_reset="earliest"
    )
    await consumer.start()
    began, done = 0.0, 0
    while done < count:
        found = await consumer.getmany(timeout_ms=500, max_records=BATCH)
        began = began or (time.perf_counter() if found else 0.0)
        done += sum(len(records) for records in found.values())
    seconds = time.perf_counter() - began
    await consumer.stop()
    return count / seconds


def _predict() -> float:
    """Returns rows a second of trees as training makes them, on one thread, a batch at a time."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(PREDICTED, len(FEATURES)))
    y = x[:, 0] + draw.normal(size=PREDICTED) > 0
    settings = {"objective": "binary", "num_leaves": 15, "num_threads": 1, "verbosity": -1}
    trees = lightgbm.train(settings, lightgbm.Dataset(x[:5_000], y[:5_000]), 200)
    began = time.perf_counter()
    for at in range(0, PREDICTED, BATCH):
        trees.predict(x[at : at + BATCH], num_threads=1)
    return PREDICTED / (time.perf_counter() - began)


async def _fill(kafka: KafkaSettings, topic: str, count: int) -> None:
    producer = Producer(kafka, "bench")
    await common.preload(producer, topic, raw(count))
    await producer.close()


def raw(count: int, first: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yields purchases as an upstream system publishes them."""
    for i, customer in enumerate(common.uniform(count).tolist(), first):
        name = f"customer-{customer}"
        yield (
            name.encode(),
            orjson.dumps(
                {
                    "specversion": "1.0",
                    "id": f"order-{i}",
                    "source": "bench",
                    "type": PURCHASE,
                    "time": (BEGIN + timedelta(seconds=i)).isoformat(),
                    "subject": name,
                    "data": {"amount": "23.45", "currency": "USD", "channel": "offline"},
                }
            ),
        )
