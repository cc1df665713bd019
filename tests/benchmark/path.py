"""Section `end_to_end`: the three services as processes, from the raw topic to the task.

Full load: a topic's worth of purchases at once, until every assessment is stored. Steady: a fixed
number of events a second from long silent customers, each of which gets a task; latency is from the
raw record's arrival to the stored task with its delivery.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import orjson

from deploy.demo.backlog import ALERTS, INGEST, SCORING
from deploy.local.stack import DATA
from shared.contracts.events import PURCHASE
from shared.contracts.topics import RAW
from shared.kafka.producer import Producer, Record
from tests.benchmark import common, streams
from tests.benchmark.common import Figures
from tests.e2e.services_on_history import World

EVENTS = 100_000
PER_S = 1_000
STEADY_S = 20
SILENT_DAYS = 20
"""Late, but not gone: a purchase so old leads to a task."""
DRAIN_S_MAX = 900.0

LATENCIES = """
    SELECT extract(epoch FROM created_at) * 1000 - received_ms AS ms
      FROM alerts.delivery WHERE received_ms > 0 AND received_ms >= $1
"""


def run() -> Figures:
    """Runs the section on its own stack."""
    return asyncio.run(_measure())


async def _measure() -> Figures:
    async with World.open(DATA / "bench-e2e", os.environ, clock="live") as world:
        producer = Producer(world.stack.kafka.settings, "bench")
        count = common.scaled(EVENTS)
        began = time.perf_counter()
        await common.preload(producer, RAW.name, streams.raw(count))
        await _drained(world)
        full = count / (time.perf_counter() - began)
        await world.services.wait(lambda: _settled(world), "alerts", DRAIN_S_MAX)
        since_ms = int(time.time() * 1000)
        sent = await _steady(producer)
        await world.services.wait(lambda: _settled(world), "alerts", DRAIN_S_MAX)
        await producer.close()
        latencies = await _latencies(world.database_url, since_ms)
        broker = world.stack.broker
    if not latencies:
        raise AssertionError("nobody who is late became a task")
    p50, p99 = np.percentile(latencies, [50, 99])
    return {
        "broker": broker,
        "events_per_s": full,
        "steady_per_s": sent,
        "tasks": len(latencies),
        "latency_ms": {"p50": float(p50), "p99": float(p99)},
    }


async def _drained(world: World) -> None:
    async def done() -> bool:
        return await world.backlog.behind(INGEST, SCORING) == 0

    await world.services.wait(done, "every assessment", DRAIN_S_MAX)


async def _settled(world: World) -> bool:
    return await world.backlog.behind(INGEST, SCORING, *ALERTS) == 0


async def _steady(producer: Producer) -> float:
    """Sends `PER_S` events a second; returns the rate that was reached."""
    began, ten = time.perf_counter(), PER_S // 10
    for n in range(10 * STEADY_S):
        await asyncio.sleep(max(0.0, began + n / 10 - time.perf_counter()))
        await producer.send(_late(n * ten, ten))
    return PER_S * STEADY_S / (time.perf_counter() - began)


def _late(first: int, count: int) -> Iterator[Record]:
    """Yields one old purchase for each of `count` unknown customers."""
    at = datetime.now(UTC) - timedelta(days=SILENT_DAYS)
    for i in range(first, first + count):
        name = f"late-{i}"
        value = orjson.dumps(
            {
                "specversion": "1.0",
                "id": name,
                "source": "bench",
                "type": PURCHASE,
                "time": at.isoformat(),
                "subject": name,
                "data": {"amount": "230.45", "currency": "USD", "channel": "online"},
            }
        )
        yield Record(RAW.name, name.encode(), value)


async def _latencies(url: str, since_ms: int) -> list[float]:
    connection = await asyncpg.connect(url)
    try:
        return [float(row["ms"]) for row in await connection.fetch(LATENCIES, since_ms)]
    finally:
        await connection.close()
