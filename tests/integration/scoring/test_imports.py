"""An import without its end marker: it is seen wherever an operator looks, and can be ended."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.stack import LocalStack
from shared.contracts.risk import DECODER
from tests.fakes import activity
from tests.fakes.log import MemoryLog
from tests.integration.scoring.postgres import table
from tests.integration.scoring.running import Place, place, scoring

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC)


@pytest.fixture
async def made(stack: LocalStack, database_url: str) -> AsyncIterator[Place]:
    """Topics and tables; two partitions."""
    async with place(stack, database_url, 2) as found:
        yield found


def imported(log: MemoryLog, name: str, customer: str, partition: int) -> None:
    """A purchase of a year ago that an import brings."""
    value = activity.event(name, customer, NOW - timedelta(days=365), backfill="year-2025")
    log.append(partition, value, key=customer.encode())


async def test_an_import_is_shown_and_ended(made: Place) -> None:
    """Ready with a note; the command refuses what is not under way; what it ends stays ended after
    a restart, also for what comes late of it through the other partition, and the sweep goes on
    without a restart."""
    log = MemoryLog("activity")
    imported(log, "e1", "ann", 0)
    assert (await made.command("imports", "show")).strip() == "no import is under way"
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await made.send(log)
        await made.reached(1)
        async with asyncio.timeout(30):
            while "imports" not in (await service.until("/readyz", 200)).json().get("notes", {}):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        note = (await service.until("/readyz", 200)).json()["notes"]["imports"]
        assert "import 'year-2025': the sweep of 1 partition rests" in note
        assert "imports end" in note
        assert "'year-2025'" in await made.command("partitions", "show")
        assert "'year-2025'" in await made.command("imports", "show")
        with pytest.raises(AssertionError, match=r"'other' is not under way; these are: 'year-20"):
            await made.command("imports", "end", "other")
        assert await table(made.engine, "assessment_history") == []
        assert "has ended" in await made.command("imports", "end", "year-2025")
        told = DECODER.decode((await made.read("risk", 1))[0].value or b"")
        assert (told.customer_id, told.onboarding) == ("ann", True)
        assert "notes" not in (await service.until("/readyz", 200)).json()
        assert await service.stop() == 0
    with pytest.raises(AssertionError, match="nor is any other"):
        await made.command("imports", "end", "year-2025")
    late = MemoryLog("activity")
    imported(late, "e2", "eve", 1)
    async with scoring(made) as service:
        await made.send(late)
        assert {r.key for r in await made.read("risk", 2)} == {b"ann", b"eve"}
        assert await service.stop() == 0
    assert await made.command("imports", "show") == "no import is under way\n"
