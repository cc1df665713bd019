"""A stall of scoring shows at the next scrape and at the readiness probe, whatever causes it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial

import pytest

from deploy.local.stack import LocalStack
from tests.fakes import activity
from tests.fakes.log import MemoryLog
from tests.integration.scoring.running import ServiceEnvironment, place, scoring
from tests.integration.stalls import Shown, show_a_held_lock

pytestmark = pytest.mark.stack


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


async def test_a_held_lock_shows(made: ServiceEnvironment) -> None:
    """Another session holds the table that batches write."""
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        shown = Shown("scoring", service.url)
        topic = made.topic("activity")
        await show_a_held_lock(
            shown, made.database_url, "scoring.customer_state", topic, partial(send_one, made)
        )


@pytest.mark.parametrize("name", ["kafka", "postgres"])
async def test_a_frozen_server_shows(made: ServiceEnvironment, name: str) -> None:
    """A suspended server accepts connections and never answers.

    The probe names it, scrapes still answer, and the age of what they compare grows.
    """
    server = made.stack.kafka if name == "kafka" else made.stack.postgres
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        shown = Shown("scoring", service.url)
        server.freeze()
        try:
            reported = (await service.until("/readyz", 503)).json()["missing"]
            assert name in reported, reported
            first = await shown.value("ends_age_seconds")
            await shown.until("ends_age_seconds", "", first + 1, 60)
            await shown.until("ready", f'check="{name}"', 0, 0)
        finally:
            server.thaw()
        await service.until("/readyz", 200)
        await shown.until("ends_age_seconds", "", 0, 2)
