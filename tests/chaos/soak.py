"""Load and faults for minutes: memory and tables must not grow."""

import asyncio
import random
import time

import asyncpg
import psutil

from tests.chaos.environment import ChaosEnvironment, Worker
from tests.chaos.report import Found

MINUTE_S = 60.0
MEMORY_GROWTH_MAX = 1.25
"""Growth of a steady worker's memory, from the first third to the end: allocators settle, leaks do
not."""
DEAD_SHARE_MAX = 5.0
"""Dead rows of a hot table for each live one: small tables reach it between two vacuums."""
DEAD_FLOOR = 10_000
"""Dead rows that a table may always have."""


async def soak(arena: ChaosEnvironment) -> Found:
    """The story is sent slowly while workers are killed, sessions ended, the broker restarted.

    One worker stays, and is measured.
    """
    seconds = MINUTE_S * arena.times
    source = random.Random(5)  # noqa: S311 (repeatable on purpose)
    steady = await arena.start()
    await steady.until(200)
    end = time.monotonic() + seconds
    broker = asyncio.Lock()
    feeding = asyncio.create_task(_feed(arena, seconds, broker))
    memory = []
    while time.monotonic() < end:
        memory.append(_megabytes(steady))
        fault = source.choice(("guest", "sessions", "broker"))
        if fault == "guest":
            guest = await arena.start()
            await asyncio.sleep(3)
            await guest.kill()
        elif fault == "sessions":
            await _end_sessions(arena)
        else:
            async with broker:  # the services have to survive it, our own sender does not
                await asyncio.to_thread(arena.stack.kafka.restart)
        await arena.count()
        await asyncio.sleep(source.uniform(1, 5))
    await feeding
    since = time.monotonic()
    await arena.reached(1)
    arena.recoveries.append(time.monotonic() - since)
    dead = await _dead_rows(arena)
    last = _megabytes(steady)
    await arena.finished()
    found = await arena.judged()
    first = max(memory[: max(1, len(memory) // 3)])
    if last > first * MEMORY_GROWTH_MAX:
        found.wrong.append(f"memory grew from {first:.0f} to {last:.0f} MB")
    found.wrong += dead
    return found


async def _feed(arena: ChaosEnvironment, seconds: float, broker: asyncio.Lock) -> None:
    parts = max(10, int(seconds / 2))
    for number in range(parts):
        async with broker:
            await arena.send_part(number, parts)
        await asyncio.sleep(seconds / parts)


def _megabytes(worker: Worker) -> float:
    return float(psutil.Process(worker.process.pid).memory_info().rss) / 1e6


async def _end_sessions(arena: ChaosEnvironment) -> None:
    connection = await asyncpg.connect(arena.place.database_url)
    try:
        await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'ebbwatch-scoring' AND datname = current_database()"
        )
    finally:
        await connection.close()


async def _dead_rows(arena: ChaosEnvironment) -> list[str]:
    connection = await asyncpg.connect(arena.place.database_url)
    try:
        rows = await connection.fetch(
            "SELECT relname, n_dead_tup AS dead, n_live_tup AS live FROM pg_stat_user_tables "
            "WHERE schemaname = 'scoring'"
        )
    finally:
        await connection.close()
    return [
        f"{row['relname']} has {row['dead']} dead rows"
        for row in rows
        if row["dead"] > DEAD_FLOOR + DEAD_SHARE_MAX * row["live"]
    ]
