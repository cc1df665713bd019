"""Faults of PostgreSQL: unreachable, killed, cut off in COMMIT, deadlocked, and full."""

import asyncio
import random
import time
from pathlib import Path

import asyncpg

from deploy.local.waiting import free_port
from tests.chaos.disk import Full
from tests.chaos.environment import LIMIT_S, ChaosEnvironment
from tests.chaos.proxy import Proxy
from tests.chaos.report import Found


async def away_at_take_over(arena: ChaosEnvironment) -> Found:
    """Stopped before a worker gets its partitions: the worker stays, unready, and goes on later."""
    await arena.place.send(arena.story.log)
    await asyncio.to_thread(arena.stack.postgres.stop)
    worker = await arena.start()
    await asyncio.sleep(3)
    arena.injected += worker.running
    ready = await worker.status()
    since = time.monotonic()
    await asyncio.to_thread(arena.stack.postgres.start)
    await arena.recovered(since)
    await arena.finished()
    found = await arena.judged()
    if ready == 200:
        found.wrong.append("was ready without PostgreSQL")
    return found


async def killed(arena: ChaosEnvironment) -> Found:
    """kill -9 of the postmaster during work; it comes back through its own recovery."""
    await arena.place.send(arena.story.log)
    worker = await arena.start()
    for number in range(arena.times):
        await arena.reached((number + 0.5) / (arena.times + 1))
        await arena.count()
        await asyncio.to_thread(arena.stack.postgres.kill)
        await asyncio.sleep(0.3)
        since = time.monotonic()
        await asyncio.to_thread(arena.stack.postgres.start)
        await arena.recovered(since)
    assert worker.running
    await arena.finished()
    return await arena.judged()


async def sessions_ended(arena: ChaosEnvironment) -> Found:
    """pg_terminate_backend of every session of scoring, at random moments."""
    source = random.Random(7)  # noqa: S311 (repeatable on purpose)
    await arena.place.send(arena.story.log)
    await arena.start()
    connection = await asyncpg.connect(arena.place.database_url)
    try:
        for number in range(4 * arena.times):
            await arena.reached(number / (4 * arena.times + 1))
            await asyncio.sleep(source.uniform(0, 0.05))
            await arena.count()
            await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'ebbwatch-scoring' AND datname = current_database()"
            )
    finally:
        await connection.close()
    await arena.recovered()
    await arena.finished()
    return await arena.judged()


async def cut_in_commit(arena: ChaosEnvironment) -> Found:
    """The connection is reset after COMMIT was sent and before it was answered.

    Scoring reads the outcome and never guesses it.
    """
    target = int(arena.place.database_url.rpartition(":")[2].partition("/")[0])
    source = random.Random(11)  # noqa: S311 (repeatable on purpose)
    rate = 0.15

    def at_commit(data: bytes) -> bool:
        return b"COMMIT" in data and proxy.cut < 4 * arena.times and source.random() < rate

    async with Proxy(target, free_port(), at_commit) as proxy:
        arena.addresses["DATABASE_URL"] = arena.place.database_url.replace(
            f":{target}/", f":{proxy.port}/"
        )
        await arena.place.send(arena.story.log)
        await arena.start()
        await arena.reached(0.5)
        await arena.recovered()
        await arena.reached(1)
        arena.injected = proxy.cut
        await arena.finished()
    return await arena.judged()


async def deadlocked(arena: ChaosEnvironment) -> Found:
    """Another session locks the same rows in reverse order, until scoring is the victim.

    One lane: a session checks for a deadlock once in a wait. With two, the rival would close the
    second circle after that lane's check, and be the victim itself.
    """
    await arena.place.send(arena.story.log)
    await arena.start(LANES="1")
    await arena.reached(0.1)
    rival = await asyncpg.connect(arena.place.database_url)
    try:
        # Scoring's check comes first: it waits for a second before it checks for a deadlock.
        await rival.execute("SET deadlock_timeout = '20s'")
        before = await _deadlocks(arena)
        for number in range(arena.times):
            await arena.reached(0.1 + 0.8 * number / arena.times)
            async with rival.transaction():
                await rival.execute("SELECT FROM scoring.customer_state FOR UPDATE")
                await asyncio.sleep(0.3)  # by now scoring holds the ledger's rows, and waits for us
                await rival.execute("SELECT FROM scoring.partition FOR UPDATE")
            await arena.recovered()
        await asyncio.sleep(1)
        arena.injected = await _deadlocks(arena) - before
    finally:
        await rival.close()
    await arena.finished()
    return await arena.judged()


async def _deadlocks(arena: ChaosEnvironment) -> int:
    connection = await asyncpg.connect(arena.place.database_url)
    try:
        return int(
            await connection.fetchval(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            )
        )
    finally:
        await connection.close()


async def disk_full(arena: ChaosEnvironment) -> Found:
    """The database is on a small tmpfs that is filled up.

    No progress and not ready while it is full, no data lost, and work goes on once there is room.
    """
    async with Full.moved(arena) as disk:
        await arena.place.send(arena.story.log)
        worker = await arena.start()
        await arena.reached(0.3)
        disk.fill()
        waiting = await _waits(arena, worker.log)
        arena.injected += waiting
        ready = await worker.status()
        disk.free()
        await arena.recovered()
        await arena.finished()
        found = await arena.judged()
    if ready == 200:
        found.wrong.append("was ready with a full disk")
    return found


async def _waits(arena: ChaosEnvironment, log: Path) -> bool:
    """Waits until scoring logs that it waits for the disk; False if it finished before."""
    async with asyncio.timeout(LIMIT_S):
        while await arena.consumed() < arena.total:
            if b"DiskFull" in log.read_bytes():  # noqa: ASYNC240 (a small local file)
                return True
            await asyncio.sleep(0.05)
    return False
