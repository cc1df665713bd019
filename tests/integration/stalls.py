"""A table is locked while records wait: what a scrape and the readiness probe of a service show.

The lock is real, held by a session of its own; only conditions are waited for.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
import httpx

LIMIT_S: Final = 45.0
"""Longest wait for anything, in seconds: far above what is needed, below the test's limit."""
PROMISED_S: Final = 10.0
"""Seconds within which the probe reports a stall."""
BY_PARTITION: Final = ("lag_records", "lag_seconds", "last_commit_age_seconds")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a running service answers at `url`."""

    service: str
    url: str

    async def value(self, name: str, label: str = "") -> float:
        """Return a metric's value at one scrape; `label` selects a series."""
        full = f"ebbwatch_{self.service}_{name}"
        async with httpx.AsyncClient(timeout=10) as client:
            text = (await client.get(f"{self.url}/metrics")).text
        for line in text.splitlines():
            if line.startswith((f"{full} ", f"{full}{{")) and label in line:
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no {full} of {label!r}")

    async def until(self, name: str, label: str, least: float, most: float) -> float:
        """Scrape until the metric lies between the two; return its value."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                found = await self.value(name, label)
                if least <= found <= most:
                    return found
                await asyncio.sleep(0.1)

    async def ready(self, status: int) -> dict[str, str]:
        """Ask the readiness probe until it answers with this status; return what it misses."""
        async with asyncio.timeout(LIMIT_S), httpx.AsyncClient(timeout=10) as client:
            while True:
                answer = await client.get(f"{self.url}/readyz")
                if answer.status_code == status:
                    missing: dict[str, str] = answer.json()["missing"]
                    return missing
                await asyncio.sleep(0.05)


@asynccontextmanager
async def locked(database_url: str, table: str) -> AsyncIterator[None]:
    """Hold a lock as a person's `psql` does: without the time-outs of our own sessions."""
    rival = await asyncpg.connect(database_url)
    try:
        async with rival.transaction():
            await rival.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await rival.close()


async def show_a_held_lock(
    shown: Shown, database_url: str, table: str, topic: str, send: Callable[[], Awaitable[None]]
) -> None:
    """Fail unless a lock on `table` shows while the record that `send` writes to `topic` waits.

    Lag and the time without a commit are there and grow from scrape to scrape, the probe fails
    within its bound, and everything ends with the lock. The record is in partition 0.
    """
    partition = f'partition="0",topic="{topic}"'
    await shown.ready(200)
    async with locked(database_url, table):
        await send()
        await shown.until("lag_records", partition, 1, 1)
        for name, label in (("lag_seconds", partition), ("last_commit_age_seconds", topic)):
            first = await shown.until(name, label, 0.001, 60)
            await shown.until(name, label, first + 0.5, 60)
        assert await shown.value("freshness_seconds") > 0
        reported = (await shown.ready(503))["commits"]
        found = re.fullmatch(r"records of (\S+) wait and none .* for (\d+) s", reported)
        assert found is not None, reported
        assert found[1] == f"{topic}/0"
        assert int(found[2]) < PROMISED_S
        await shown.until("ready", 'check="commits"', 0, 0)
        assert await shown.value("ends_age_seconds") < PROMISED_S
    await shown.ready(200)
    for name in BY_PARTITION:
        await shown.until(name, topic if "commit" in name else partition, 0, 0)
    await shown.until("ready", 'check="commits"', 1, 1)
