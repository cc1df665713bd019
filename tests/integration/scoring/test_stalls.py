"""A stall of scoring shows at the next scrape and at the readiness probe, whatever causes it."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from deploy.local.stack import LocalStack
from shared.postgres.engine import unit_of_work
from tests.fakes import activity
from tests.fakes.log import MemoryLog
from tests.integration.scoring.running import LIMIT_S, Running, ServiceEnvironment, place, scoring

pytestmark = pytest.mark.stack

PROMISED_S = 10.0
"""Seconds within which the probe reports a stall."""


@pytest.fixture
async def made(stack: LocalStack, database_url: str) -> AsyncIterator[ServiceEnvironment]:
    """Provide topics and tables with one partition."""
    async with place(stack, database_url, 1) as found:
        yield found


async def send_one(made: ServiceEnvironment) -> None:
    """Write an event to the activity topic."""
    log = MemoryLog("activity")
    value = activity.event("one", "ann", datetime.now(UTC))
    log.append(0, value, key=b"ann")
    await made.send(log)


async def value_of(service: Running, name: str, topic: str = "") -> float:
    """Return a metric's value at one scrape; `topic` selects a series."""
    answer = await service.get("/metrics")
    assert answer is not None
    for line in answer.text.splitlines():
        if line.startswith((f"{name} ", f"{name}{{")) and topic in line:
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {name} of {topic!r}")


async def until(service: Running, name: str, topic: str, least: float, most: float) -> float:
    """Scrape until the metric lies between the two; return its value."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            found = await value_of(service, name, topic)
            if least <= found <= most:
                return found
            await asyncio.sleep(0.1)


async def test_a_held_lock_shows(made: ServiceEnvironment) -> None:
    """Another session holds the table that batches write.

    Lag and the time without a commit are there and grow from scrape to scrape, the probe fails
    within its bound, and everything ends with the lock.
    """
    topic = made.topic("activity")
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        async with unit_of_work(made.engine) as other:
            await other.driver.execute("LOCK TABLE scoring.customer_state IN ACCESS EXCLUSIVE MODE")
            await send_one(made)
            await until(service, "ebbwatch_scoring_lag_records", topic, 1, 1)
            for name in ("lag_seconds", "last_commit_age_seconds"):
                first = await until(service, f"ebbwatch_scoring_{name}", topic, 0.001, 60)
                await until(service, f"ebbwatch_scoring_{name}", topic, first + 0.5, 60)
            assert await value_of(service, "ebbwatch_scoring_freshness_seconds") > 0
            reported = (await service.until("/readyz", 503)).json()["missing"]["commits"]
            found = re.fullmatch(r"records of (\S+) wait and none .* for (\d+) s", reported)
            assert found is not None, reported
            assert found[1] == f"{topic}/0"
            assert int(found[2]) < PROMISED_S
            await until(service, "ebbwatch_scoring_ready", 'check="commits"', 0, 0)
            assert await value_of(service, "ebbwatch_scoring_ends_age_seconds") < PROMISED_S
        await service.until("/readyz", 200)
        for name in ("lag_records", "lag_seconds", "last_commit_age_seconds"):
            await until(service, f"ebbwatch_scoring_{name}", topic, 0, 0)
        await until(service, "ebbwatch_scoring_ready", 'check="commits"', 1, 1)


@pytest.mark.parametrize("name", ["kafka", "postgres"])
async def test_a_frozen_server_shows(made: ServiceEnvironment, name: str) -> None:
    """A suspended server accepts connections and never answers.

    The probe names it, scrapes still answer, and the age of what they compare grows.
    """
    server = made.stack.kafka if name == "kafka" else made.stack.postgres
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        server.freeze()
        try:
            reported = (await service.until("/readyz", 503)).json()["missing"]
            assert name in reported, reported
            first = await value_of(service, "ebbwatch_scoring_ends_age_seconds")
            await until(service, "ebbwatch_scoring_ends_age_seconds", "", first + 1, 60)
            await until(service, "ebbwatch_scoring_ready", f'check="{name}"', 0, 0)
        finally:
            server.thaw()
        await service.until("/readyz", 200)
        await until(service, "ebbwatch_scoring_ends_age_seconds", "", 0, 2)
