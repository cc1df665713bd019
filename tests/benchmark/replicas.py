"""Section `replicas`: scoring as one process and as two in one group, on the same topic."""

import asyncio
import time
from contextlib import AsyncExitStack

from deploy.local.stack import LocalStack
from shared.contracts import topics
from shared.kafka.producer import Producer
from tests.benchmark import common
from tests.benchmark.common import Figures
from tests.integration.scoring import running

EVENTS = 150_000
DRAIN_S_MAX = 900.0
"""Longest wait for one of the two; the slowest machine measured takes a tenth."""


async def replicas(stack: LocalStack) -> Figures:
    """Returns events per second of each, and the ratio."""
    count = common.scaled(EVENTS)
    one = await _rate(stack, count, 1)
    two = await _rate(stack, count, 2)
    return {"events_per_s_1": one, "events_per_s_2": two, "speedup_2": two / one}


async def _rate(stack: LocalStack, count: int, workers: int) -> float:
    """Returns events per second, timed from the first record written.

    Writing takes a fraction of what scoring takes.
    """
    name = f"ebbwatch_bench_replicas_{workers}"
    url = stack.postgres.fresh(name)
    async with (
        running.place(stack, url, topics.ACTIVITY.partitions) as place,
        AsyncExitStack() as opened,
    ):
        started = [await opened.enter_async_context(running.scoring(place)) for _ in range(workers)]
        for process in started:
            await process.until("/readyz", 200)
        producer = Producer(stack.kafka.settings, "bench")
        messages = common.activity(common.uniform(count))
        began = time.perf_counter()
        await common.preload(producer, place.topic("activity"), messages)
        await producer.close()
        async with asyncio.timeout(DRAIN_S_MAX):
            while sum((await place.offsets()).values()) < count:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.05)
        seconds = time.perf_counter() - began
        for process in started:
            await process.stop()
    stack.postgres.drop(name)
    return count / seconds
