"""Faults of the broker: restarted, killed, frozen; its network a black hole, or cut."""

import asyncio
import time

from deploy.local.waiting import free_port
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.proxy import Proxy
from tests.chaos.report import Found

HEALED_S_MAX = 1.0
"""The promise of the fault matrix: seconds after the network is healed until work goes on."""


async def restarted(arena: ChaosEnvironment) -> Found:
    """Stops and starts the broker in order, then kills and starts it, during work."""
    await arena.place.send(arena.story.log)
    worker = await arena.start()
    for number in range(max(2, arena.times // 2)):
        await arena.reached((number + 1) / 5)
        await arena.count()
        await asyncio.to_thread(arena.stack.kafka.kill if number % 2 else arena.stack.kafka.stop)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(arena.stack.kafka.start)
        await arena.recovered(time.monotonic())
    assert worker.running
    await arena.finished()
    return await arena.judged()


async def frozen(arena: ChaosEnvironment) -> Found:
    """SIGSTOP, for longer than a session in the long run."""
    await arena.place.send(arena.story.log)
    await arena.start()
    await arena.reached(0.3)
    await arena.count()
    arena.stack.kafka.freeze()
    await asyncio.sleep(15 if arena.long else 4)
    arena.stack.kafka.thaw()
    await arena.recovered()
    await arena.finished()
    return await arena.judged()


async def _through_proxies(arena: ChaosEnvironment, act: str) -> Found:
    kafka, listens = arena.proxied
    target = int(arena.place.database_url.rpartition(":")[2].partition("/")[0])
    slow = []
    async with Proxy(kafka, listens) as log, Proxy(target, free_port()) as database:
        url = arena.place.database_url.replace(f":{target}/", f":{database.port}/")
        arena.addresses |= {
            "DATABASE_URL": url,
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{listens}",
        }
        await arena.place.send(arena.story.log)
        await arena.start()
        for number in range(2 * max(1, arena.times // 2)):
            proxy = (log, database)[number % 2]
            await arena.reached((number + 1) / (2 * arena.times + 2))
            await arena.count()
            if act == "hold":
                proxy.hold()
                await asyncio.sleep(8 if arena.long else 3)
                proxy.release()
            else:
                proxy.reset()
            await arena.recovered()
            if arena.recoveries and arena.recoveries[-1] > HEALED_S_MAX:
                slow.append(
                    f"{arena.recoveries[-1]:.1f} s after {('Kafka', 'PostgreSQL')[number % 2]}"
                )
        await arena.finished()
    found = await arena.judged()
    if slow and arena.long:
        found.wrong.append(f"resumed late: {', '.join(slow)}")
    return found


async def black_hole(arena: ChaosEnvironment) -> Found:
    """Holds all traffic for seconds, to the broker and to PostgreSQL in turn."""
    return await _through_proxies(arena, "hold")


async def reset(arena: ChaosEnvironment) -> Found:
    """Resets every connection, to the broker and to PostgreSQL in turn."""
    return await _through_proxies(arena, "reset")
